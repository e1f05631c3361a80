"""Binary activations and accumulators from training to a file: every form answers alike."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from looking import every
from torch import Tensor, nn

import proxconnect as pc
from proxconnect.errors import FormatError
from proxconnect.models import CifarResNet, VisionTransformer

SETTINGS = {
    "bwa": {},
    "bwa, thresholds": {"learn_thresholds": True, "activations": "bnn++"},
    "bwaa": {},
    "bwaa, saturate": {"overflow": "saturate", "accumulator_bits": 5},
}


def cnn() -> nn.Module:
    return CifarResNet(8, classes=4, block="bireal", nonlinearity="rprelu")


def vit() -> nn.Module:
    return VisionTransformer(classes=4, image_size=8, width=24, depth=1, heads=2, class_token=True)


def images(n: int) -> Tensor:
    return torch.randn(n, 3, 8, 8, generator=torch.Generator().manual_seed(n))


def config(setting: str) -> pc.BinarizeConfig:
    return pc.BinarizeConfig.from_setting(setting.partition(",")[0], **SETTINGS[setting])


def trained(build: Callable[[], nn.Module], setting: str) -> nn.Module:
    """Train a model for some steps, so that scales, thresholds and statistics leave their start."""
    torch.manual_seed(0)
    model = pc.binarize_(build(), config(setting))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(2):
        loss = nn.functional.cross_entropy(model(images(6)), torch.arange(6) % 4)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


@pytest.mark.parametrize(
    ("build", "setting"),
    [
        pytest.param(build, setting, marks=pytest.mark.full if build is vit and "," in setting else ())
        for build in (cnn, vit)
        for setting in SETTINGS
    ],
)
def test_every_deployed_form_answers_as_the_hardened_model(
    build: Callable[[], nn.Module], setting: str, tmp_path: Path
) -> None:
    model = trained(build, setting)
    hard = pc.harden_(copy.deepcopy(model)).requires_grad_(False)
    path = pc.save(model, tmp_path / "m.safetensors", images(1))
    reference = [pc.load(path, kernels="reference"), pc.pack_(copy.deepcopy(model), kernels="reference")]
    for form in reference:
        assert torch.equal(form(images(5)), hard(images(5)))
    forms = [
        pc.load(path),
        pc.pack_(copy.deepcopy(model)).requires_grad_(False),
        pc.load(path, model=pc.binarize_(build(), config(setting))).requires_grad_(False),
    ]
    for form in forms:
        for n in (1, 5):
            expected = hard(images(n))
            bound = 1e-5 * expected.abs().max().item()
            torch.testing.assert_close(form(images(n)), expected, rtol=0, atol=bound)
        kernels = {layer.kernel for layer in pc.summary(form).layers if layer.binary_parameters}
        assert kernels == {"w1a1"}
    assert forms[0].header.setting == setting.partition(",")[0]
    assert every(not name.endswith("mu") for name in forms[0].header.dense)


@pytest.mark.parametrize(("setting", "bits"), [("bwa", 32), ("bwaa", 8), ("bwaa, saturate", 5)])
def test_every_form_shows_its_bits_and_counts_the_same(setting: str, bits: int, tmp_path: Path) -> None:
    model = trained(cnn, setting)
    path = pc.save(model, tmp_path / "m.safetensors", images(1))
    forms = [model, pc.harden_(copy.deepcopy(model)), pc.pack_(copy.deepcopy(model)), pc.load(path), path]
    tables = [pc.summary(form, images(1)) for form in forms]
    plain = pc.summary(pc.binarize_(cnn(), pc.BinarizeConfig()), images(1))
    precision = "1 bit x 1 bit" + ("" if bits == 32 else f" in {bits} bit")
    for table in tables:
        binary = [layer for layer in table.layers if layer.binary_parameters]
        assert len(binary) == 6
        assert {(layer.activation_bits, layer.accumulator_bits) for layer in binary} == {(1, bits)}
        assert {layer.precision for layer in binary} == {precision}
        assert (table.macs(binary=True), table.bytes) == (plain.macs(binary=True), plain.bytes)
    assert {layer.activation_bits for layer in plain.layers} == {32}
    assert {layer.kind for layer in tables[-1].layers if layer.binary_parameters} == {"conv2d"}


def test_a_file_is_not_loaded_into_a_model_of_another_setting(tmp_path: Path) -> None:
    path = pc.save(trained(vit, "bwaa"), tmp_path / "m.safetensors")
    for model, setting in ((vit(), "bw"), (pc.binarize_(vit(), config("bwa")), "bwa")):
        before = copy.deepcopy(model.state_dict())
        with pytest.raises(FormatError, match=f"setting 'bwaa', but the layers .* are of '{setting}'"):
            pc.load(path, model=model)
        assert before.keys() == model.state_dict().keys()


def test_a_file_is_not_loaded_into_a_model_of_other_accumulators(tmp_path: Path) -> None:
    path = pc.save(trained(vit, "bwaa"), tmp_path / "m.safetensors")
    for values, found in (({"overflow": "saturate"}, "saturate 8"), ({"accumulator_bits": 6}, "wrap 6")):
        other = pc.binarize_(vit(), pc.BinarizeConfig.from_setting("bwaa", **values))
        with pytest.raises(FormatError, match=f"are 'wrap 8' in the file, but '{found}' in the model"):
            pc.load(path, model=other)


@pytest.mark.parametrize(("setting", "error"), [("bwa", "setting 'bwa'"), ("bwaa", "setting 'bwaa'")])
def test_int8_activations_are_for_float_inputs(setting: str, error: str, tmp_path: Path) -> None:
    path = pc.save(trained(vit, setting), tmp_path / "m.safetensors")
    with pytest.raises(pc.ProxConnectError, match=f"{error}: activations='int8' is for binary layers with"):
        pc.load(path, model=vit(), activations="int8")


def test_a_packed_model_is_packed_again_from_its_file(tmp_path: Path) -> None:
    packed = pc.pack_(trained(vit, "bwaa"), kernels="reference")
    path = pc.save(packed, tmp_path / "m.safetensors", images(2))
    assert torch.equal(pc.load(path, kernels="reference")(images(3)), packed(images(3)))


@pytest.mark.parametrize(
    "norm",
    [lambda n: nn.BatchNorm2d(n, track_running_stats=False), lambda n: nn.InstanceNorm2d(n, affine=True)],
)
def test_norms_that_take_the_statistics_of_their_input_stay_norms(
    norm: Callable[[int], nn.Module], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    layers = [layer for _ in range(4) for layer in (nn.Conv2d(8, 8, 3, padding=1), norm(8))]
    model = pc.binarize_(nn.Sequential(*layers, nn.Conv2d(8, 2, 3)), config("bwa")).eval()
    path = pc.save(model, tmp_path / "m.safetensors", torch.randn(2, 8, 9, 9))
    x = 3 + 5 * torch.randn(3, 8, 9, 9)
    expected = pc.load(path, kernels="reference")(x)
    assert torch.equal(expected, pc.harden_(model)(x))
    torch.testing.assert_close(pc.load(path)(x), expected, rtol=0, atol=1e-5 * expected.abs().max().item())
