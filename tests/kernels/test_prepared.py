"""Prepared calls give the bits of the functions that check their arguments, or leave the call to these."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from proxconnect.errors import ProxConnectError
from proxconnect.kernels import (
    Affine,
    Chain,
    ConvPanels,
    Geometry,
    Outputs,
    Panels,
    PreparedCall,
    Step,
    Thresholds,
    pack_pixels,
    pack_signs,
    w1a1_affine,
    w1a1_chain,
    w1a1_conv_affine,
    w1a1_conv_chain,
    w1a1_conv_signs,
    w1a1_signs,
    w1a8,
    w1a8_conv,
    w1a32,
    w1a32_conv,
)

K, N, CHANNELS = 40, 20, 11
GEOMETRY = Geometry(stride=(2, 1), padding=(1, 1))


def numbers(*shape: int) -> Tensor:
    return torch.randn(shape)


def epilogues(k: int) -> dict[str, Any]:
    steps = [Step("multiply", (numbers(N),)), Step("add_residual"), Step("add", (numbers(N),))]
    return {
        "affine": Affine.of(numbers(N), numbers(N)),
        "signs": Thresholds.of(numbers(N), numbers(N), k),
        "floats": Chain.of(steps, N),
        "both": Chain.of(steps[:1], N, signs=True),
        "packed": Chain.of(steps[:1], N, floats=False, signs=True),
    }


def signs_of_rows(x: Tensor) -> Tensor:
    bits = pack_signs(x.reshape(-1, x.shape[-1]))
    return bits.view(*x.shape[:-1], -1)


def tensors_of(outputs: Any) -> list[Tensor]:
    found = outputs if isinstance(outputs, Outputs) else (outputs,)
    return [y for y in found if y is not None]


def assert_same(found: Any, expected: Any, shape: tuple[int, ...]) -> None:
    for y, other in zip(tensors_of(found), tensors_of(expected), strict=True):
        assert y.shape[:-1] == shape
        assert torch.equal(y.view(other.shape), other)


@pytest.mark.parametrize("epilogue", ["affine", "signs", "floats", "both", "packed"])
@pytest.mark.parametrize("wrap", [False, True])
def test_products_of_signs(epilogue: str, wrap: bool) -> None:
    torch.manual_seed(0)
    weight, steps = Panels.lay_out(pack_signs(numbers(N, K)), K), epilogues(K)[epilogue]
    prepared = PreparedCall(1, weight, steps, wrap=wrap)
    function = {"affine": w1a1_affine, "signs": w1a1_signs}.get(epilogue, w1a1_chain)
    for rows in ((3,), (2, 5), (3,)):
        x = signs_of_rows(numbers(*rows, K))
        residual = numbers(*rows, N) if epilogue in ("affine", "floats") else None
        given = [] if residual is None else [residual.view(-1, N)]
        expected = function(x.view(-1, x.shape[-1]), weight, steps, *given, wrap=wrap)
        assert_same(prepared(x, residual), expected, rows)


@pytest.mark.parametrize("epilogue", ["affine", "signs", "floats", "both", "packed"])
def test_convolutions_of_signs(epilogue: str) -> None:
    torch.manual_seed(1)
    k = CHANNELS * 9
    weight = ConvPanels.lay_out(pack_signs(numbers(N, k)), (N, CHANNELS, 3, 3))
    steps = epilogues(k)[epilogue]
    prepared = PreparedCall(1, weight, steps, GEOMETRY)
    function = {"affine": w1a1_conv_affine, "signs": w1a1_conv_signs}.get(epilogue, w1a1_conv_chain)
    for count, size in ((1, 5), (2, 4), (1, 5)):
        x = pack_pixels(numbers(count, CHANNELS, size, size))
        rows = count, *GEOMETRY.output_size((size, size), (3, 3))
        residual = numbers(*rows, N) if epilogue in ("affine", "floats") else None
        given = [] if residual is None else [residual]
        image = None if residual is None else residual.permute(0, 3, 1, 2)
        assert_same(prepared(x, image), function(x, weight, GEOMETRY, steps, *given), rows)


@pytest.mark.parametrize("bits", [6, 8, 32])
@pytest.mark.parametrize("added", [False, True])
def test_products_of_floats(bits: int, added: bool) -> None:
    torch.manual_seed(2)
    weight, affine = Panels.lay_out(pack_signs(numbers(N, K)), K), epilogues(K)["affine"]
    prepared = PreparedCall(bits, weight, affine)
    function = w1a32 if bits == 32 else partial(w1a8, bits=bits)
    for rows in ((3,), (2, 5)):
        x = numbers(*rows, K)
        residual = numbers(*rows, N) if added else None
        expected = function(x.view(-1, K), weight, affine, None if residual is None else residual.view(-1, N))
        assert_same(prepared(x, residual), expected, rows)


@pytest.mark.parametrize("bits", [8, 32])
@pytest.mark.parametrize("added", [False, True])
def test_convolutions_of_floats(bits: int, added: bool) -> None:
    torch.manual_seed(3)
    weight = ConvPanels.lay_out(pack_signs(numbers(N, CHANNELS * 9)), (N, CHANNELS, 3, 3))
    affine = epilogues(0)["affine"]
    prepared = PreparedCall(bits, weight, affine, GEOMETRY)
    function = w1a32_conv if bits == 32 else w1a8_conv
    for count, size in ((1, 5), (2, 4)):
        x = numbers(count, CHANNELS, size, size).contiguous(memory_format=torch.channels_last)
        rows = count, *GEOMETRY.output_size((size, size), (3, 3))
        residual = numbers(*rows, N) if added else None
        image = None if residual is None else residual.permute(0, 3, 1, 2)
        assert_same(prepared(x, image), function(x, weight, GEOMETRY, affine, residual), rows)


def test_what_needs_more_than_the_call_is_left_to_the_functions() -> None:
    torch.manual_seed(4)
    panels = Panels.lay_out(pack_signs(numbers(N, K)), K)
    affine = epilogues(K)["affine"]
    product = PreparedCall(8, panels, affine)
    x = numbers(3, K)
    assert product(x, numbers(3, N)) is not None
    assert product(numbers(3, K + 1)) is None
    assert product(numbers(K, 3).T) is None
    assert product(x, numbers(3, 1)) is None
    assert product(x, numbers(N, 3).T) is None
    assert product(x * torch.inf) is None
    assert PreparedCall(1, panels, epilogues(K)["floats"])(pack_signs(x)) is None

    weight = ConvPanels.lay_out(pack_signs(numbers(N, CHANNELS * 9)), (N, CHANNELS, 3, 3))
    image = numbers(1, CHANNELS, 4, 4)
    assert PreparedCall(8, weight, affine, GEOMETRY)(image) is None
    assert PreparedCall(32, weight, affine, GEOMETRY)(image) is not None
    assert PreparedCall(32, weight, affine, GEOMETRY)(image, numbers(1, N, 2, 4)) is None
    assert PreparedCall(32, weight, affine, GEOMETRY)(image[:, 1:]) is None


def test_sizes_are_forgotten_not_collected() -> None:
    product = PreparedCall(32, Panels.lay_out(pack_signs(numbers(N, K)), K), epilogues(K)["affine"])
    for rows in range(1, 200):
        assert product(torch.ones(rows, K)) is not None
    assert len(product._sizes) < 100


def test_bad_arguments_are_refused() -> None:
    panels = Panels.lay_out(pack_signs(numbers(N, K)), K)
    weight = ConvPanels.lay_out(pack_signs(numbers(N, CHANNELS * 9)), (N, CHANNELS, 3, 3))
    affine = epilogues(K)["affine"]
    other = Affine.of(numbers(N + 1))
    with pytest.raises(ProxConnectError, match=f"{N + 1} outputs"):
        PreparedCall(32, panels, other)
    with pytest.raises(ProxConnectError, match="2 to 8"):
        PreparedCall(9, panels, affine)
    with pytest.raises(ProxConnectError, match="no kernel computes 6-bit activations"):
        PreparedCall(6, weight, affine, GEOMETRY)
    with pytest.raises(ProxConnectError, match="no kernel computes 32-bit activations"):
        PreparedCall(32, panels, epilogues(K)["signs"])
    with pytest.raises(ProxConnectError, match=f"{N + 1} outputs"):
        PreparedCall(1, panels, Chain.of([], N + 1))
    with pytest.raises(ProxConnectError, match="does not fit into an image"):
        PreparedCall(32, weight, affine, Geometry())(numbers(1, CHANNELS, 2, 2))
