"""Chains of elementwise operators in one kernel: the very bits of torch's operators, one by one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from drawn_graphs import Drawing, binary_product, prelu, relu, sign, with_constant
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import proxconnect as pc
from proxconnect.engine import Network
from proxconnect.engine._operand_layout import ConvOperand
from proxconnect.engine.fusion import _chain_steps
from proxconnect.engine.fusion._chain_steps import Layout, Link, faithful_steps
from proxconnect.format import PackedFile
from proxconnect.graph import Node, TensorName, Value
from proxconnect.models import create_model

SPECIAL = torch.tensor([torch.inf, -torch.inf, torch.nan, 0.0, -0.0])
NORM = Node("aten.batch_norm.default", (Value(0), *map(TensorName, "wbmv"), False, 0.1, 1e-5, False))


def with_specials(x: Tensor) -> Tensor:
    """Put infinities, NaN and zeros of both signs among floats."""
    flat = x.clone().flatten()
    flat[torch.randperm(len(flat))[: len(SPECIAL)]] = SPECIAL
    return flat.view_as(x)


def operators(net: Network) -> list[str]:
    assert net._fused
    return [node.op for node in net._fused[net.graph.names].graph.nodes]


def norm(drawing: Drawing) -> Value:
    """Add a BatchNorm whose weights may be zero or negative, and whose means may be infinite."""
    x = drawing.floats(2, 3, 4)
    n = drawing.shape(x)[1]
    weight, mean = torch.randn(n), torch.randn(n)
    weight[0] = drawing.one_of(1.0, 0.0, -0.0, -1.0)
    mean[-1] = torch.inf if drawing.rarely() else 0.5
    given = drawing.one_of(None, drawing.tensor(weight)), drawing.one_of(None, drawing.numbers(n))
    statistics = drawing.tensor(mean, "buffer"), drawing.tensor(torch.rand(n) + 0.5)
    return drawing.add("batch_norm", x, *given, *statistics, False, 0.1, 1e-5, False)


def residual(drawing: Drawing) -> Value:
    """Add the first value of the same shape, from the left or from the right."""
    y = drawing.floats(2, 3, 4)
    same = [
        Value(i) for i, value in enumerate(drawing.values) if value.shape == drawing.values[y.index].shape
    ]
    return drawing.add("add.Tensor", *drawing.one_of((y, same[0]), (same[0], y)))


def clip(drawing: Drawing) -> Value:
    bounds = ("relu6",), ("hardtanh",), ("clamp", -0.5, 0.25), ("clamp", None, 1), ("clamp", 0.5)
    (op, *given), x = drawing.one_of(*bounds), drawing.floats()
    return drawing.add(op, x, *given)


@st.composite
def chains(draw: Callable[..., Any]) -> tuple[PackedFile, Tensor]:
    """Draw a binary product or a float, steps, and a binary product of the signs of what comes out."""
    drawing = Drawing(lambda choices: draw(st.sampled_from(choices)))
    drawing.input(*drawing.one_of((16,), (40, 9), (16, 4, 4)))
    steps = [norm, norm, prelu, relu, with_constant, residual, clip]
    first = [] if drawing.rarely() else [binary_product]
    for step in (*first, *(drawing.one_of(*steps) for _ in range(drawing.one_of(*range(1, 7))))):
        try:
            step(drawing)
        except (RuntimeError, IndexError):
            continue  # the operator does not take such a value
    y = Value(len(drawing.values) - 1)
    product = drawing.add(
        "linear", sign(drawing, y), drawing.add("sign", drawing.weight(4, drawing.shape(y)[-1]))
    )
    drawing.add("round", product)
    return drawing.file(y), drawing.values[0]


@given(chains())
@settings(max_examples=40, deadline=None)
def test_a_chain_gives_the_bits_of_its_operators(drawn: tuple[PackedFile, Tensor]) -> None:
    packed, x = drawn
    net, reference = Network(packed), Network(packed, kernels="reference")
    for inputs in (x, with_specials(x)):
        torch.testing.assert_close(net(inputs), reference(inputs), rtol=0, atol=0, equal_nan=True)


def test_one_kernel_lies_between_two_convolutions_of_a_bireal_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = create_model("resnet18", classes=4, image_size=32, block="bireal", nonlinearity="rprelu")
    model = pc.binarize_(model, pc.BinarizeConfig.from_setting("bwa"))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    path = pc.save(model, tmp_path / "m.safetensors", torch.zeros(1, 3, 32, 32))
    net, reference = pc.load(path), pc.load(path, kernels="reference")
    first, last = (operators(net).index(op) for op in ("proxconnect.pack", "aten.mean.dim"))
    assert set(operators(net)[first + 1 : last]) == {"proxconnect.product", "getitem"}
    assert operators(net).count("proxconnect.pack") == 1
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(net(x), reference(x), rtol=0, atol=1e-5)


def separately(x: Tensor, w: Tensor, b: Tensor, m: Tensor, v: Tensor, *rest: object) -> Tensor:
    """Compute a BatchNorm with its product and its sum rounded one after the other."""
    factor = w / (v + 1e-5).sqrt()
    shape = (1, -1, *[1] * (x.ndim - 2))
    return x * factor.view(shape) + (b - m * factor).view(shape)


def by_differences(x: Tensor, w: Tensor, b: Tensor, m: Tensor, v: Tensor, *rest: object) -> Tensor:
    """Compute a BatchNorm in another order."""
    shape = (1, -1, *[1] * (x.ndim - 2))
    return (x - m.view(shape)) / (v + 1e-5).sqrt().view(shape) * w.view(shape) + b.view(shape)


@pytest.mark.parametrize(
    ("norm_of_torch", "steps"), [(separately, ["multiply", "add"]), (by_differences, None)]
)
def test_a_chain_follows_how_torch_was_compiled(
    norm_of_torch: Callable[..., Tensor], steps: list[str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_chain_steps, "resolve", lambda name: norm_of_torch)
    tensors = {name: torch.rand(8) + 0.5 for name in "wbmv"}
    constant = lambda argument: tensors.get(getattr(argument, "name", ""))  # noqa: E731
    found = faithful_steps([], [Link(NORM, 0)], Layout(ConvOperand, 8, 4, 1), constant, 0)
    assert (found and [step.kind for step in found]) == steps
