"""Models of transformers, from a float folder to training, to a packed folder, and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from looking import every, same_tensors, some
from safetensors.torch import load_file
from tiny_models import logits, tiny, words
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModel, AutoModelForCausalLM
from transformers.quantizers import auto

import proxconnect as pc
from proxconnect.engine import PackedLayer
from proxconnect.integrations.transformers import ProxConnectConfig
from proxconnect.layers import binarized_weights, hardened_weights

pytestmark = pytest.mark.usefixtures("quiet_transformers")


@pytest.fixture(scope="module")
def floats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("floats")
    tiny(tie_word_embeddings=True).save_pretrained(folder)
    return folder


def move_(model: Any, mu: float = 7.0) -> Any:
    """Move all parameters and mu, as training would."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
    for module in model.modules():
        if hasattr(module, "set_mu"):
            module.set_mu(mu)
    return model


def binarized(floats: Path, **options: Any) -> Any:
    config = ProxConnectConfig(**{"group": 32, **options})
    return AutoModelForCausalLM.from_pretrained(floats, quantization_config=config)


def saved(model: Any, folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Save a model; return the tensors of the folder, and what its configuration says of the weights."""
    model.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    return load_file(folder / "model.safetensors"), config["quantization_config"]


def test_a_float_folder_is_binarized_for_training(floats: Path) -> None:
    model = binarized(floats)
    weights = list(binarized_weights(model))
    assert len(weights) == 7
    assert every(weight.quantizer.pair.name == "bnn++" for weight in weights)
    assert {weight.quantizer.config.scale for weight in weights} == {32}
    plain = tiny(tie_word_embeddings=True).state_dict()
    assert every(torch.equal(weight.latent, plain[weight.name]) for weight in weights)
    assert not model.training
    model(input_ids=words(), labels=words()).loss.backward()
    assert every(weight.latent.grad.abs().sum() > 0 for weight in weights)


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({}, {"model.embed_tokens", "lm_head"}),
        ({"embeddings": True}, set()),
        ({"modules_to_not_convert": ["mlp"]}, {"model.embed_tokens", "lm_head"}),
        ({"modules_to_not_convert": [r"model\.layers\.0\.mlp", "q_proj"]}, {"model.embed_tokens", "lm_head"}),
    ],
)
def test_the_configuration_chooses_layers(floats: Path, options: dict[str, Any], left: set[str]) -> None:
    model = binarized(floats, **options)
    chosen = {weight.fqn for weight in binarized_weights(model)}
    for part in ("mlp", "q_proj"):
        names = " ".join(options.get("modules_to_not_convert", ()))
        inside = {name for name in chosen if part in name}
        assert bool(inside) == (part not in names)
    assert left.isdisjoint(chosen)
    assert options.get("embeddings", False) == ("lm_head" in chosen and "model.embed_tokens" in chosen)


@pytest.mark.parametrize(
    "options",
    [
        {"embeddings": True},
        {"method": "pc", "levels": (-1, 0, 1), "method_args": {"rho": 0.01}},
        {"group": None, "activations": "bnn+"},
    ],
)
def test_training_goes_on_from_a_saved_model(floats: Path, options: dict[str, Any], tmp_path: Path) -> None:
    model = move_(binarized(floats, **options))
    tensors, description = saved(model, tmp_path)
    assert description["packed"] == []
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert same_tensors(again.state_dict(), model.state_dict())
    for found, wanted in zip(some(binarized_weights(again)), binarized_weights(model), strict=True):
        assert found.quantizer.config == wanted.quantizer.config
        assert found.quantizer.mu == 7
    assert torch.equal(logits(again), logits(model))
    assert every(tensors[weight.name].dtype == torch.float32 for weight in binarized_weights(model) if
                 weight.name in tensors)  # fmt: skip
    again.save_pretrained(tmp_path / "again")
    assert same_tensors(load_file(tmp_path / "again" / "model.safetensors"), tensors)


def test_learned_scales_and_thresholds_go_on(tmp_path: Path) -> None:
    config = pc.BinarizeConfig("bnn++", learn_scale=True, activations="bnn", learn_thresholds=True)
    model = move_(pc.binarize_(tiny(), config))
    model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert same_tensors(again.state_dict(), model.state_dict())
    assert torch.equal(logits(again), logits(model))


@pytest.mark.parametrize("embeddings", [False, True])
def test_a_packed_folder_is_the_packed_model(floats: Path, embeddings: bool, tmp_path: Path) -> None:
    model = pc.harden_(move_(binarized(floats, embeddings=embeddings, activations="int8"), 300))
    tensors, description = saved(model, tmp_path / "hardened")
    assert description["latents"] == []
    packed = pc.pack_(model, activations="int8")
    from_packed, _ = saved(packed, tmp_path / "packed")
    assert same_tensors(from_packed, tensors)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "packed")
    layers = [layer for layer in loaded.modules() if isinstance(layer, PackedLayer)]
    assert len(layers) == (9 if embeddings else 7)
    assert {layer.kernel for layer in layers} == ({"w1a8", "rows"} if embeddings else {"w1a8"})
    assert torch.equal(logits(loaded), logits(packed))
    bits = sum(tensor.numel() for tensor in tensors.values() if tensor.dtype == torch.uint8)
    assert 8 * bits == sum(8 * weight.bits.numel() for layer in layers for weight in {layer.packed.weight}
                           if layer is not loaded.lm_head)  # fmt: skip
    if embeddings:
        assert loaded.lm_head.packed.weight is loaded.get_input_embeddings().packed.weight
    loaded.save_pretrained(tmp_path / "again")
    assert same_tensors(load_file(tmp_path / "again" / "model.safetensors"), tensors)


def test_ternary_and_binary_input_weights_come_back(tmp_path: Path) -> None:
    ternary = pc.BinarizeConfig("pc", levels=(-1, 0, 1), scale="tensor", scale_dtype=torch.float32)
    narrow = pc.BinarizeConfig.from_setting("bwaa", learn_thresholds=True)
    model = pc.binarize_(tiny(), {"re:.*mlp.*": ternary, "re:.*self_attn.*": narrow})
    pc.pack_(move_(model, 300)).save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert same_tensors(loaded.state_dict(), model.state_dict())
    assert torch.equal(logits(loaded), logits(model))
    kernels = {layer.kernel for layer in loaded.modules() if isinstance(layer, PackedLayer)}
    assert kernels == {"w2a32", "w1a1"}


class LargestFloat(TorchDispatchMode):
    """Remembers the largest tensor of floats outside of the meta device."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = function(*args, **(kwargs or {}))
        if isinstance(output, torch.Tensor) and output.is_floating_point() and not output.is_meta:
            self.elements = max(self.elements, output.numel())
        return output


def test_a_packed_folder_is_loaded_without_a_float_copy(tmp_path: Path) -> None:
    model = tiny(intermediate_size=512, hidden_size=64)
    pc.pack_(pc.binarize_(model, pc.BinarizeConfig("bc", scale=32))).save_pretrained(tmp_path)
    with LargestFloat() as largest:
        loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert 0 < largest.elements < 64 * 512
    assert loaded.get_submodule("model.layers.0.mlp.up_proj").packed.weight.bits.shape == (512, 8)


def test_a_model_that_binarize_binarized_is_saved_alike(tmp_path: Path) -> None:
    model = move_(pc.binarize_(tiny(), pc.BinarizeConfig("bnn+", scale=32)))
    model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert same_tensors(again.state_dict(), model.state_dict())
    model.model.save_pretrained(tmp_path / "inner")
    inner = AutoModel.from_pretrained(tmp_path / "inner")
    assert same_tensors(inner.state_dict(), model.model.state_dict())


def test_a_model_that_load_packed_is_saved_alike(tmp_path: Path) -> None:
    path = pc.save(pc.binarize_(tiny(), pc.BinarizeConfig("bc")), tmp_path / "model.safetensors")
    model = pc.load(path, model=tiny())
    model.save_pretrained(tmp_path / "folder")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "folder")
    assert torch.equal(logits(again), logits(model))


def test_a_state_under_saved_names_goes_into_a_binarized_model(tmp_path: Path) -> None:
    config = pc.BinarizeConfig("bnn++", scale=32, learn_scale=True)
    model = move_(pc.binarize_(tiny(), config))
    model.save_pretrained(tmp_path)
    other = pc.binarize_(tiny(), config)
    found = other.load_state_dict(load_file(tmp_path / "model.safetensors"))
    assert not found.missing_keys + found.unexpected_keys
    assert same_tensors(other.state_dict(), model.state_dict())


def test_a_plain_transformers_never_loads_random_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = move_(pc.binarize_(tiny(), pc.BinarizeConfig("bnn++")))
    latents = {weight.name: weight.latent.detach().clone() for weight in binarized_weights(model)}
    model.save_pretrained(tmp_path / "latents")
    pc.pack_(model).save_pretrained(tmp_path / "packed")
    monkeypatch.delitem(auto.AUTO_QUANTIZATION_CONFIG_MAPPING, "proxconnect")
    monkeypatch.delitem(auto.AUTO_QUANTIZER_MAPPING, "proxconnect")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "latents").state_dict()
    assert every(torch.equal(plain[name], latent) for name, latent in latents.items())
    with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
        AutoModelForCausalLM.from_pretrained(tmp_path / "packed")


def test_the_body_of_a_packed_model_loads_alone_and_under_another_head(tmp_path: Path) -> None:
    model = pc.pack_(pc.binarize_(tiny(num_labels=3), pc.BinarizeConfig("bc", scale=32)))
    model.save_pretrained(tmp_path)
    body = AutoModel.from_pretrained(tmp_path)
    wanted = {f"model.{name}": tensor for name, tensor in body.state_dict().items()}
    assert same_tensors(wanted, {name: model.state_dict()[name] for name in wanted})
    classifier = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert same_tensors(classifier.model.state_dict(), body.state_dict())


def test_a_model_in_bfloat16_stays_in_it(floats: Path, tmp_path: Path) -> None:
    config = ProxConnectConfig("bc", group=32)
    model = AutoModelForCausalLM.from_pretrained(floats, quantization_config=config, dtype=torch.bfloat16)
    pc.harden_(model).save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert loaded.dtype == torch.bfloat16
    assert torch.equal(logits(loaded), logits(model))
    wide = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    assert logits(wide).dtype == torch.float32
    assert not list(hardened_weights(wide))


def test_a_model_that_is_float_again_is_saved_as_floats(tmp_path: Path) -> None:
    model = pc.binarize_(tiny(), pc.BinarizeConfig("bc"))
    model.save_pretrained(tmp_path)
    plain = tiny()
    plain.hf_quantizer = model.hf_quantizer
    plain.save_pretrained(tmp_path / "plain")
    assert "quantization_config" not in json.loads((tmp_path / "plain" / "config.json").read_text())
