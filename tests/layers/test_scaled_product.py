"""Layers with binary input against their literal form: values, gradients, padding, transposition, files."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import proxconnect as pc
from proxconnect.layers import BinaryInput, latent_weight
from proxconnect.layers._parametrization import binary_weight

Build = Callable[[], nn.Module]
LAYERS: dict[str, tuple[Build, tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(6, 4), (3, 6)),
    "linear, no bias": (lambda: nn.Linear(6, 4, bias=False), (2, 5, 6)),
    "conv1d": (lambda: nn.Conv1d(4, 6, 3, padding=1, groups=2), (2, 4, 7)),
    "conv1d, unbatched": (lambda: nn.Conv1d(4, 6, 3, dilation=2), (4, 9)),
    "conv2d": (lambda: nn.Conv2d(4, 6, 3, stride=2, padding=(1, 2)), (2, 4, 7, 7)),
    "conv2d, same": (lambda: nn.Conv2d(4, 6, 4, padding="same"), (2, 4, 5, 6)),
    "conv2d, circular": (lambda: nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular"), (2, 4, 5, 6)),
    "conv3d": (lambda: nn.Conv3d(2, 4, 2), (2, 2, 3, 4, 3)),
    "transposed1d": (lambda: nn.ConvTranspose1d(4, 6, 3, groups=2), (2, 4, 9)),
    "transposed2d": (lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, output_padding=1), (2, 4, 5, 5)),
    "transposed3d": (lambda: nn.ConvTranspose3d(4, 4, 2, groups=4, padding=1), (2, 4, 3, 3, 3)),
}


def binarized(kind: str, **config: object) -> tuple[nn.Module, nn.Module, Tensor]:
    """Make a plain layer, the same layer with binary activations, and an input."""
    torch.manual_seed(0)
    build, shape = LAYERS[kind]
    plain = build()
    layer = copy.deepcopy(plain)
    pc.binarize_(layer, pc.BinarizeConfig.from_setting("bwa", **config), lambda module, name: True)
    return plain, layer, torch.randn(shape)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("scale", ["channel", "tensor", None])
@pytest.mark.parametrize("method", ["bc", "bnn++"])
@pytest.mark.parametrize("kind", LAYERS)
def test_gradients_are_those_of_the_layer_with_this_weight_and_input(
    kind: str, method: str, scale: str | None, dtype: torch.dtype
) -> None:
    plain, layer, x = binarized(kind, method=method, scale=scale, learn_scale=scale is not None)
    plain, layer, x = plain.to(dtype), layer.to(dtype), x.to(dtype).requires_grad_()
    weight = layer.weight.detach().requires_grad_()
    bias = () if layer.bias is None else (plain.bias,)
    codes = x.detach().sign().requires_grad_()
    parameters = {"weight": weight} | ({"bias": plain.bias} if bias else {})
    expected = torch.func.functional_call(plain, parameters, (codes,))
    g = torch.randn_like(expected)
    of_codes, of_weight, *of_bias = torch.autograd.grad(expected, (codes, weight, *bias), g)
    y = layer(x)
    y.backward(g)
    tolerance = {"rtol": 1e-5, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 1e-12, "atol": 1e-12}
    torch.testing.assert_close(y, expected, **tolerance)
    torch.testing.assert_close(x.grad, of_codes * (x.detach().abs() <= 1), **tolerance)
    quantizer, latent = binary_weight(layer), latent_weight(layer)
    other = copy.deepcopy(quantizer)
    other.zero_grad()
    twin = latent.detach().clone().requires_grad_()
    other(twin).backward(of_weight)
    torch.testing.assert_close(latent.grad, twin.grad, **tolerance)
    if quantizer.learned_scale is not None:
        torch.testing.assert_close(quantizer.learned_scale.grad, other.learned_scale.grad, **tolerance)
    for found in of_bias:
        torch.testing.assert_close(layer.bias.grad, found, **tolerance)


@pytest.mark.parametrize("kind", LAYERS)
def test_sums_are_exact_before_the_scale(kind: str) -> None:
    plain, layer, x = binarized(kind, method="bc", scale_dtype=torch.float32)
    codes = torch.func.functional_call(
        plain,
        {"weight": plain.weight.detach().sign()} | ({} if plain.bias is None else {"bias": 0 * plain.bias}),
        (x.sign(),),
    )
    channels = -1 if isinstance(layer, nn.Linear) else (0 if x.ndim < plain.weight.ndim else 1)
    alpha = binary_weight(layer).exact_scale(latent_weight(layer)).flatten()
    expected = codes.round().movedim(channels, -1) * alpha
    if plain.bias is not None:
        expected = expected + plain.bias
    y = layer(x)
    assert torch.equal(y.movedim(channels, -1), expected)
    assert torch.equal(pc.harden_(layer)(x), y)


def autoencoder(setting: str = "bwa") -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.ConvTranspose2d(8, 6, 3, stride=2, groups=2),
        nn.BatchNorm2d(6),
        nn.ConvTranspose2d(6, 4, 2, bias=False),
        nn.Conv2d(4, 3, 3),
    )
    config = pc.BinarizeConfig.from_setting(setting, learn_thresholds=True, activations="bnn")
    return pc.binarize_(model, config)


@pytest.mark.parametrize("setting", ["bwa", "bwaa"])
def test_transposed_convolutions_train_harden_and_travel(setting: str, tmp_path: Path) -> None:
    model, x = autoencoder(setting), torch.randn(4, 3, 9, 9)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    before = model[1].input_quantizer.thresholds.detach().clone()
    for _ in range(2):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
    assert not torch.equal(model[1].input_quantizer.thresholds, before)
    model.eval()
    hard = pc.harden_(copy.deepcopy(model)).requires_grad_(False)
    path = pc.save(model, tmp_path / "m.safetensors", x)
    for form in (pc.load(path, kernels="reference"), pc.pack_(copy.deepcopy(model), kernels="reference")):
        assert torch.equal(form(x), hard(x))
    assert torch.equal(pc.load(path, model=autoencoder(setting))(x), hard(x))
    bits = 32 if setting == "bwa" else 8
    tables = [pc.summary(form, x) for form in (model, hard, pc.load(path), path)]
    for table in tables:
        binary = [layer for layer in table.layers if layer.binary_parameters]
        assert [(layer.activation_bits, layer.accumulator_bits) for layer in binary] == [(1, bits)] * 2
        assert table.macs(binary=True) == tables[0].macs(binary=True) > 0


def test_transposed_convolutions_take_an_output_size() -> None:
    plain, layer, x = binarized("transposed2d", method="bc")
    for size in ([11, 11], [12, 12]):
        assert layer(x, output_size=size).shape == plain(x, output_size=size).shape
        assert layer(x, size).shape[2:] == torch.Size(size)
    with pytest.raises(ValueError, match="output size"):
        layer(x, [40, 40])


def test_a_layer_keeps_codes_and_weight_alone() -> None:
    layer = pc.binarize_(nn.Linear(64, 32), pc.BinarizeConfig.from_setting("bwa"), lambda module, name: True)
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    x = functional.gelu(torch.randn(50, 64, requires_grad=True))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = layer(x)
    assert output.requires_grad
    own = {each.untyped_storage().data_ptr() for each in (*layer.parameters(), *layer.buffers())}
    numbers = sum(size for address, size in kept.items() if address not in own) // 4
    assert numbers == 50 * 64 + 64 * 32 + 32 + 50 * 64 // 32  # codes, weight, scales, a bit for each input


def test_binary_input_is_a_class_of_all_of_them() -> None:
    for kind in LAYERS:
        plain, layer, _ = binarized(kind)
        assert isinstance(layer, BinaryInput)
        assert isinstance(layer, type(plain))
