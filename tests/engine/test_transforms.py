"""Packed layers and networks where torch traces, counts or transforms functions: right, or refused."""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
import torch.autograd.forward_ad as forward_ad
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

import proxconnect as pc
from proxconnect.errors import ProxConnectError

from .test_operators import AFFINE, CALLS, CONV, IMAGE, LINEAR, ROWS, Model

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")

X, OTHER = (torch.randn(n, 16, 4, 4, generator=torch.Generator().manual_seed(n)) for n in (3, 5))
SETTINGS = ("bw", "int8", "bwa", "bwaa")
FORMS = ("pack_", "fast", "reference")


@cache
def hardened(setting: str) -> nn.Module:
    torch.manual_seed(0)
    config = pc.BinarizeConfig.from_setting("bw" if setting == "int8" else setting)
    model = pc.harden_(pc.binarize_(Model(), config, lambda module, name: True))
    return model.eval().requires_grad_(False)


@cache
def form(setting: str, name: str) -> nn.Module:
    activations = "int8" if setting == "int8" else None
    if name == "pack_":
        return pc.pack_(copy.deepcopy(hardened(setting)), activations=activations)
    with TemporaryDirectory() as folder:
        path = pc.save(hardened(setting), Path(folder) / "m.safetensors", X)
        return pc.load(path, kernels=name, activations=activations if name == "fast" else None)


every_form = pytest.mark.parametrize(
    ("setting", "name"), [(setting, name) for setting in SETTINGS for name in FORMS]
)


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@every_form
@torch.no_grad()
def test_a_trace_computes_what_is_traced_and_can_be_saved(setting: str, name: str) -> None:
    net = form(setting, name)
    with warnings.catch_warnings():
        warnings.simplefilter("error", torch.jit.TracerWarning)
        traced = torch.jit.trace(net, X)
    file = io.BytesIO()
    torch.jit.save(traced, file)
    file.seek(0)
    for x in (X, OTHER):
        assert torch.equal(traced(x), net(x))
    assert torch.equal(torch.jit.load(file)(X), net(X))


@every_form
@torch.no_grad()
def test_make_fx_keeps_the_operators(setting: str, name: str) -> None:
    net = form(setting, name)
    program = make_fx(net)(X)
    assert torch.equal(program(X), net(X))
    kept = any("proxconnect" in str(node.target) for node in program.graph.nodes)
    assert kept == (name != "reference")


@every_form
@torch.no_grad()
def test_operations_are_counted_as_in_float32(setting: str, name: str) -> None:
    counts = []
    for net in (form(setting, name), hardened(setting)):
        counter = FlopCounterMode(display=False)
        with counter:
            net(X)
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] > 0


@every_form
@torch.no_grad()
def test_vmap_gives_what_calls_give(setting: str, name: str) -> None:
    net = form(setting, name)
    close(torch.vmap(lambda row: net(row[None])[0])(X), net(X))
    stacked = torch.stack([X, OTHER[:3]], dim=1)
    close(torch.vmap(net, in_dims=1)(stacked), torch.stack([net(X), net(OTHER[:3])]))


@every_form
def test_derivatives_are_those_of_the_hardened_model(setting: str, name: str) -> None:
    net, hard, t = form(setting, name), hardened(setting), torch.ones_like(X)

    def loss(model: nn.Module, x: Tensor) -> Tensor:
        return model(x).square().sum()

    expected = torch.func.grad(lambda x: loss(hard, x))(X)
    tangent = torch.func.jvp(hard, (X,), (t,))[1]
    close(torch.func.grad(lambda x: loss(net, x))(X), expected)
    close(torch.vmap(torch.func.grad(lambda row: loss(net, row[None])))(X), expected)
    close(torch.func.jvp(net, (X,), (t,))[1], tangent)
    x = X.clone().requires_grad_()
    torch.vmap(lambda row: net(row[None])[0])(x).square().sum().backward()
    close(x.grad, expected)
    with torch.no_grad(), forward_ad.dual_level():
        dual = forward_ad.unpack_dual(net(forward_ad.make_dual(X, t)))
    close(dual.primal, hard(X))
    close(dual.tangent if dual.tangent is not None else torch.zeros_like(tangent), tangent)


def mapped(arguments: tuple[Any, ...], chosen: Callable[[int, Tensor], bool]) -> tuple[list[Any], list[Any]]:
    """Two versions of the chosen arguments, stacked; and where."""
    stacked, dims = [], []
    for i, argument in enumerate(arguments):
        batched = isinstance(argument, Tensor) and chosen(i, argument)
        stacked.append(torch.stack([argument, argument.flip(0)], dim=1) if batched else argument)
        dims.append(1 if batched else None)
    return stacked, dims


@pytest.mark.parametrize(("name", "arguments"), CALLS)
def test_every_operator_has_a_rule_for_vmap(name: str, arguments: tuple[Any, ...]) -> None:
    operator = getattr(torch.ops.proxconnect, name)
    residual = max(i for i, argument in enumerate(arguments) if not isinstance(argument, bool))
    choices: list[Callable[[int, Tensor], bool]] = [
        lambda i, a: i == 0,
        lambda i, a: i in (0, residual),
        lambda i, a: i > 0 and a.is_floating_point(),
    ]
    for chosen in choices:
        stacked, dims = mapped(arguments, chosen)
        if all(dim is None for dim in dims):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a rule that torch lacks is one
            found = torch.vmap(
                lambda *tensors, dims=dims, stacked=stacked: operator(
                    *(next(rest) if d is not None else a for a, d in zip(stacked, dims, strict=True))
                    if (rest := iter(tensors))
                    else ()
                ),
                in_dims=tuple(dim for dim in dims if dim is not None),
            )(*(a for a, dim in zip(stacked, dims, strict=True) if dim is not None))
        for i in range(2):
            single = (a if d is None else a.select(1, i) for a, d in zip(stacked, dims, strict=True))
            expected = operator(*(a.contiguous() if isinstance(a, Tensor) else a for a in single))
            for one, other in zip(tree_leaves(found), tree_leaves(expected), strict=True):
                assert torch.equal(one[i], other)


def test_a_backward_pass_through_an_operator_is_refused() -> None:
    x = ROWS.clone().requires_grad_()
    with pytest.raises(ProxConnectError, match="proxconnect::w1a32_linear has no gradient"):
        torch.ops.proxconnect.w1a32_linear(x, *LINEAR, *AFFINE, None).sum().backward()
    image = IMAGE.clone().requires_grad_()
    with pytest.raises(ProxConnectError, match="proxconnect::w1a8_conv2d has no gradient"):
        torch.ops.proxconnect.w1a8_conv2d(image, *CONV, *AFFINE, None).sum().backward()
