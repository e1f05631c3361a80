"""Folders of transformers that are damaged or lie are refused in one line that names the fault."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import tiny
from torch import Tensor
from transformers import AutoModelForCausalLM

import proxconnect as pc
from proxconnect.errors import FormatError
from proxconnect.integrations.transformers import ProxConnectConfig

pytestmark = pytest.mark.usefixtures("quiet_transformers")

Tensors = dict[str, Tensor]
UP = "model.layers.0.mlp.up_proj.weight"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("folders")
    # 36 inputs to a sum: the last byte of a row has four bits of padding.
    model = tiny(hidden_size=36)
    model = pc.binarize_(model, {"re:.*mlp.*": pc.BinarizeConfig("pc", levels=(-1, 0, 1), scale=32),
                                 "re:.*_proj": pc.BinarizeConfig("bc")})  # fmt: skip
    model.save_pretrained(folder / "latents")
    pc.pack_(model).save_pretrained(folder / "packed")
    return folder


def packed_groups(config: dict[str, Any]) -> list[dict[str, Any]]:
    return config["quantization_config"]["packed"]


def group_of(config: dict[str, Any], name: str) -> dict[str, Any]:
    return next(group for group in packed_groups(config) if name in group["weights"])


def put(change: dict[str, Any]) -> Callable[[dict[str, Any], Tensors], None]:
    return lambda config, tensors: config["quantization_config"].update(change)


def put_in_group(change: dict[str, Any]) -> Callable[[dict[str, Any], Tensors], None]:
    return lambda config, tensors: packed_groups(config)[0].update(change)


def replace(name: str, make: Callable[[Tensor], Tensor]) -> Callable[[dict[str, Any], Tensors], None]:
    def change(config: dict[str, Any], tensors: Tensors) -> None:
        tensors[name] = make(tensors[name]).contiguous()

    return change


def first(value: float | int) -> Callable[[Tensor], Tensor]:
    def change(tensor: Tensor) -> Tensor:
        tensor = tensor.clone()
        tensor.view(-1)[0] = value
        return tensor

    return change


def last(value: int) -> Callable[[Tensor], Tensor]:
    return lambda tensor: torch.cat([tensor.flatten()[:-1], tensor.new_tensor([value])]).view(tensor.shape)


def another_shape(config: dict[str, Any], tensors: Tensors) -> None:
    group_of(config, UP)["form"]["shape"] = [64, 44]


def twice(config: dict[str, Any], tensors: Tensors) -> None:
    packed_groups(config).append(packed_groups(config)[0])


def a_norm(config: dict[str, Any], tensors: Tensors) -> None:
    packed_groups(config)[0]["weights"].append("model.norm.weight")


def unknown_layer(config: dict[str, Any], tensors: Tensors) -> None:
    packed_groups(config)[0]["weights"].append("model.layers.7.mlp.up_proj.weight")


PACKED = {
    "version": (put({"version": 2}), "version 2 is unknown; this release reads 1"),
    "no version": (put({"version": None}), "version None is unknown"),
    "field": (put({"bits": 4}), "field 'bits' is unknown"),
    "no list": (put({"packed": {}}), r"quantization_config.packed: expected a list"),
    "names no weights": (put({"packed": []}), "names no weights"),
    "group without weights": (
        put({"packed": [{}]}),
        r"packed\[0\]: expected an object with the",
    ),
    "form": (
        put_in_group({"form": {"shape": [0, 4], "bits": 1}}),
        r"form.shape: expected two or more",
    ),
    "bits": (
        put_in_group({"form": {"shape": [8, 8], "bits": 3}}),
        r"form.bits: expected one of 1, 2",
    ),
    "huge": (
        put_in_group({"form": {"shape": [2**40, 2**40], "bits": 1}}),
        "form.shape: expected sizes",
    ),
    "scale dtype": (put_in_group({"scale_dtype": "int8"}), r"scale_dtype: expected one of 'float16'"),
    "scale shape": (put_in_group({"scale_shape": [3]}), r"packed\[0\].scale_shape: expected"),
    "field of a group": (put_in_group({"code": "x"}), r"packed\[0\]: field 'code' is unknown"),
    "twice": (twice, "is there twice"),
    "shape of the model": (
        another_shape,
        r"has the shape \[64, 44\] in",
    ),
    "a norm": (a_norm, "'model.norm.weight' is packed in the folder, but cannot be so in LlamaRMSNorm"),
    "unknown layer": (
        unknown_layer,
        "of the saved model is not in Llama",
    ),
    "shared": (put({"shared": {"lm_head.weight": "x"}}), "'lm_head.weight' shares the unknown weight 'x'"),
    "activations": (put({"activations": "int4"}), "unknown method 'int4'"),
    "missing bits": (lambda c, tensors: tensors.pop(UP), f"tensor '{UP}' is missing in the folder"),
    "missing scales": (lambda c, tensors: tensors.pop(f"{UP}_scale"), f"tensor '{UP}_scale' is missing"),
    "missing norm": (lambda c, tensors: tensors.pop("model.norm.weight"), "'model.norm.weight' is missing"),
    "extra": (
        lambda c, tensors: tensors.update(x=torch.ones(1)),
        "'x' in the folder is not in the model",
    ),
    "wrong shape of bits": (
        replace(UP, lambda bits: bits[:, :8]),
        r"shape \[2, 8, 5\] in the folder",
    ),
    "floats for bits": (
        replace(UP, lambda bits: bits.float()),
        "dtype float32 in the folder",
    ),
    "wider scales": (
        replace(f"{UP}_scale", lambda scale: scale.float()),
        "dtype float32 in the folder",
    ),
    "wrong shape of a norm": (
        replace("model.norm.weight", lambda norm: norm[:3]),
        r"shape \[3\] in the folder",
    ),
    "padding": (replace(UP, last(0xFF)), "padding bits set beyond its 36 elements"),
    "a zero with a sign": (replace(UP, lambda bits: torch.stack([bits[0] * 0, bits[1]])), "sign bit set"),
    "infinite scale": (replace(f"{UP}_scale", first(float("inf"))), "scales must be finite"),
    "no number": (replace(f"{UP}_scale", first(float("nan"))), "scales must be finite"),
    "negative scale": (replace(f"{UP}_scale", first(-1.0)), "scales must be finite and not negative"),
}


def with_latent_config(change: dict[str, Any]) -> Callable[[dict[str, Any], Tensors], None]:
    return lambda config, tensors: config["quantization_config"]["latents"][0].update(change)


LATENTS = {
    "unknown method": (with_latent_config({"method": "bnn+++"}), "unknown method 'bnn\\+\\+\\+'"),
    "own pair": (with_latent_config({"method": "own pair: mine"}), "trained with a pair of your own, 'mine'"),
    "levels": (with_latent_config({"levels": "many"}), r"latents\[0\].levels: expected a list"),
    "scale": (with_latent_config({"scale": 1.5}), r"latents\[0\].scale: expected a whole number"),
    "missing mu": (lambda c, tensors: tensors.pop(f"{UP}_mu"), f"tensor '{UP}_mu' is missing"),
    "missing latent": (lambda c, tensors: tensors.pop(UP), f"tensor '{UP}' is missing"),
    "infinite mu": (
        replace(f"{UP}_mu", first(float("inf"))),
        "_mu': values must be finite and positive",
    ),
    "no scale": (
        replace(f"{UP}_latent_scale", first(0.0)),
        "_latent_scale': values must be finite",
    ),
    "no latent": (replace(UP, first(float("nan"))), "has NaN or infinite values"),
}
CASES = {("packed", name): case for name, case in PACKED.items()} | {
    ("latents", name): case for name, case in LATENTS.items()
}


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_a_bad_folder_is_refused(kind: str, name: str, folders: Path, tmp_path: Path) -> None:
    change, message = CASES[kind, name]
    folder = tmp_path / "folder"
    shutil.copytree(folders / kind, folder)
    config = json.loads((folder / "config.json").read_text())
    tensors = load_file(folder / "model.safetensors")
    change(config, tensors)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(pc.ProxConnectError, match=message) as refused:
        AutoModelForCausalLM.from_pretrained(folder)
    assert "\n" not in str(refused.value)


def test_a_truncated_file_is_refused(folders: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    shutil.copytree(folders / "packed", folder)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FormatError, match="no readable safetensors file") as refused:
        AutoModelForCausalLM.from_pretrained(folder)
    assert str(folder) in str(refused.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "bnn+++"}, "did you mean 'bnn\\+\\+'"),
        ({"method": pc.method("bnn")}, "method must be the name of a method"),
        ({"group": 0}, "scale must be"),
        ({"activations": "bnn", "group": 32}, "scale must be 'channel', 'tensor'"),
        ({"activations": "int5"}, "unknown method 'int5'"),
        ({"levels": (1, -1)}, "levels"),
        ({"group_size": 32}, "field 'group_size' is unknown"),
    ],
)
def test_a_wrong_configuration_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(pc.ProxConnectError, match=message):
        ProxConnectConfig(**options)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("decoder", "'decoder' names no module of LlamaForCausalLM"), ("(", "is not a regular expression")],
)
def test_a_module_that_is_not_there_is_refused(pattern: str, message: str, tmp_path: Path) -> None:
    tiny().save_pretrained(tmp_path)
    config = ProxConnectConfig(modules_to_not_convert=[pattern])
    with pytest.raises(pc.ProxConnectError, match=message):
        AutoModelForCausalLM.from_pretrained(tmp_path, quantization_config=config)


def test_weights_of_other_levels_are_not_saved(tmp_path: Path) -> None:
    config = pc.BinarizeConfig("bc", levels=(-2, -1, 1, 2))
    model = pc.binarize_(tiny(), config)
    model.save_pretrained(tmp_path / "latents")
    AutoModelForCausalLM.from_pretrained(tmp_path / "latents")
    with pytest.raises(pc.ProxConnectError, match="packed weights have"):
        pc.harden_(model).save_pretrained(tmp_path)


def test_a_hardened_weight_that_was_changed_is_not_saved(tmp_path: Path) -> None:
    model = pc.harden_(pc.binarize_(tiny(), pc.BinarizeConfig("bc")))
    model.get_submodule("model.layers.0.mlp.up_proj").weight.data[0, 0] = 0.5
    with pytest.raises(pc.ProxConnectError, match="no longer a level times its scale"):
        model.save_pretrained(tmp_path)
