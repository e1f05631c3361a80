"""Networks drawn at random: saved, loaded and run, every form answers as the hardened network does."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

import proxconnect as pc

# A busy machine takes long to make modules.
SLOW_TO_DRAW = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
BATCH, BAD, GOOD = 3, 1, [0, 2]
Draw = Callable[[st.SearchStrategy[Any]], Any]
CONSTANTS = st.sampled_from([0.0, -0.0, 0.5, 1.0, -1.0, -2.5, 3])
DECISIONS = {"round": torch.round, "floor": torch.floor, "sign": lambda x: torch.sign(x + 0.5)}
MAPS: dict[str, Callable[[Tensor], Tensor]] = {
    **DECISIONS,
    "relu": F.relu,
    "hardtanh": F.hardtanh,
    "gelu": F.gelu,
    "abs": torch.abs,
    "neg": torch.neg,
    "clamp": lambda x: x.clamp(-1.5, 0.75),
    "clamp from below": lambda x: x.clamp(min=-0.5),
    "softmax": lambda x: F.softmax(x, 1),
}
WITH_CONSTANT: dict[str, Callable[[Tensor, float], Tensor]] = {
    "add": lambda x, c: x + c,
    "sub": lambda x, c: x - c,
    "sub from": lambda x, c: c - x,
    "mul": lambda x, c: x * c,
    "div": lambda x, c: x / (c or 2.0),
}
WITH_EARLIER: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "cat": lambda x, y: torch.cat((x, y), 1),
}


class Step(nn.Module):
    """A function of the value before it, and of an earlier one if it names one."""

    def __init__(self, name: str, function: Callable[..., Tensor], earlier: int | None = None) -> None:
        super().__init__()
        self.name, self.function, self.earlier = name, function, earlier

    def forward(self, values: Sequence[Tensor]) -> Tensor:
        others = () if self.earlier is None else (values[self.earlier],)
        return self.function(values[-1], *others)

    def extra_repr(self) -> str:
        return f"{self.name}, earlier={self.earlier}"


class Generated(nn.Module):
    """Layers one after another, some of which read an earlier value too."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        self.layers = nn.ModuleList()

    def forward(self, x: Tensor) -> Tensor:
        values = [x]
        for layer in self.layers:
            values.append(layer(values if isinstance(layer, Step) else values[-1]))
        return values[-1]


def product(draw: Draw, shape: torch.Size) -> nn.Module:
    """Draw a layer with a weight, at times of a single input or output or with a bias."""
    bias, outputs = draw(st.booleans()), draw(st.sampled_from([1, 8, 16, 24]))
    if len(shape) == 2:
        return nn.Linear(shape[1], outputs, bias=bias)
    kernel = min(draw(st.sampled_from([1, 2, 3])), *shape[2:])
    groups = 2 if shape[1] % 2 == 0 and outputs % 2 == 0 and draw(st.booleans()) else 1
    convolution = nn.Conv1d if len(shape) == 3 else nn.Conv2d
    stride, padding = draw(st.sampled_from([1, 2])), draw(st.sampled_from([0, 1]))
    return convolution(shape[1], outputs, kernel, stride, padding, groups=groups, bias=bias)


def norm(draw: Draw, shape: torch.Size) -> nn.Module:
    """Draw a norm whose weights may be zero or negative, and whose means may be infinite."""
    if draw(st.booleans()) and shape[-1] > 1:
        return nn.LayerNorm(shape[-1])
    layer = (nn.BatchNorm1d if len(shape) < 4 else nn.BatchNorm2d)(shape[1])
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    layer.running_mean.normal_()
    layer.running_var.uniform_(0.5, 2)
    layer.weight.data[0] = draw(st.sampled_from([1.0, 0.0, -0.0, -1.0]))
    layer.running_mean[-1] = draw(st.sampled_from([0.5] * 8 + [torch.inf, -torch.inf]))
    return layer


def prelu(draw: Draw, shape: torch.Size) -> nn.Module:
    layer = nn.PReLU(draw(st.sampled_from([1, shape[1]])))
    layer.weight.data[-1] = draw(CONSTANTS)
    return layer


def step(draw: Draw, values: Sequence[Tensor]) -> nn.Module:
    """Draw what may follow these values."""
    shape = values[-1].shape
    kinds = ["product"] * 4 + ["norm"] * 3 + ["map"] * 2 + ["prelu", "constant", "earlier", "flatten"]
    kind = draw(st.sampled_from(kinds + ["pool"] * (len(shape) > 2 and min(shape[2:]) > 1)))
    if kind in ("product", "norm", "prelu"):
        return {"product": product, "norm": norm, "prelu": prelu}[kind](draw, shape)
    if kind == "flatten":
        return nn.Flatten()
    if kind == "pool":
        average = draw(st.booleans())
        if len(shape) == 3:
            return nn.AvgPool1d(2) if average else nn.MaxPool1d(2)
        return nn.AvgPool2d(2) if average else nn.MaxPool2d(2)
    if kind == "map":
        name = draw(st.sampled_from(sorted(MAPS)))
        return Step(name, MAPS[name])
    if kind == "constant":
        name, constant = draw(st.sampled_from(sorted(WITH_CONSTANT))), draw(CONSTANTS)
        return Step(f"{name} {constant}", lambda x: WITH_CONSTANT[name](x, constant))
    name = draw(st.sampled_from(sorted(WITH_EARLIER)))
    fitting = [index for index, value in enumerate(values) if value.shape == shape]
    return Step(name, WITH_EARLIER[name], draw(st.sampled_from(fitting)))


@st.composite
@torch.no_grad()
def networks(draw: Draw) -> Generated:
    """Draw a binarized network with at least one binary layer, in evaluation."""
    torch.manual_seed(draw(st.integers(0, 99)))
    model = Generated(draw(st.sampled_from([(16,), (8, 7), (8, 5, 6)])))
    values = [torch.randn(BATCH, *model.shape)]
    layers = model.layers
    for _ in range(draw(st.integers(3, 8))):
        layers.append(step(draw, values).eval())
        values.append(layers[-1](values if isinstance(layers[-1], Step) else values[-1]))
    if not any(isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d) for layer in layers):
        layers.append(product(draw, values[-1].shape))
    weights = [name for name, module in model.named_modules() if hasattr(module, "in_features")]
    weights += [name for name, module in model.named_modules() if hasattr(module, "in_channels")]
    binary = draw(st.sets(st.sampled_from(weights), min_size=1))
    config = pc.BinarizeConfig.from_setting(draw(st.sampled_from(["bw", "bwa", "bwaa"])))
    return pc.binarize_(model, config, lambda module, name: name in binary).eval()


@torch.no_grad()
def every_form_answers_alike(model: Generated) -> None:
    x = torch.randn(BATCH, *model.shape)
    with tempfile.TemporaryDirectory() as folder:
        path = pc.save(model, Path(folder) / "m.safetensors", x)
        reference, fast = pc.load(path, kernels="reference"), pc.load(path)
        # Only layers with float inputs have activations to quantize.
        quantized = [pc.load(path, activations="int8")] if fast.header.setting == "bw" else []
    hardened = pc.harden_(copy.deepcopy(model))
    good = {form: form(x) for form in (reference, fast, *quantized)}
    for value in (None, torch.nan, torch.inf, -torch.inf):
        bad = x.clone()
        if value is not None:
            bad[BAD].view(-1)[5] = value
        expected, found = reference(bad), fast(bad)
        torch.testing.assert_close(expected, hardened(bad), rtol=0, atol=0, equal_nan=True)
        torch.testing.assert_close(found, expected, rtol=0, atol=rounding(reference, bad), equal_nan=True)
        answers = [(reference, expected), (fast, found), *((net, net(bad)) for net in quantized)]
        for form, answer in answers:
            assert answer.shape == expected.shape
            torch.testing.assert_close(answer[GOOD], good[form][GOOD], rtol=0, atol=0, equal_nan=True)


def rounding(reference: nn.Module, x: Tensor) -> float:
    """Bound the rounding of kernels: a part of the greatest value that the network computes."""
    greatest = [1.0]

    def observe(node: Any, args: Any, result: Any) -> None:
        if isinstance(result, Tensor) and result.is_floating_point() and result.isfinite().any():
            greatest.append(result[result.isfinite()].abs().max().item())

    reference.observe((x,), observe)
    return 1e-5 * max(greatest)


@given(networks())
@settings(SLOW_TO_DRAW, max_examples=10)
def test_every_form_of_a_network_answers_alike(model: Generated) -> None:
    every_form_answers_alike(model)


@pytest.mark.full
@given(networks())
@settings(SLOW_TO_DRAW, max_examples=500)
def test_every_form_of_many_networks_answers_alike(model: Generated) -> None:
    every_form_answers_alike(model)
