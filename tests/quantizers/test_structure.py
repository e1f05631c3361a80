"""The declarations of maps about their shape, against their values."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from looking import every, some
from torch import Tensor

from proxconnect.quantizers import (
    ElementwiseMap,
    Piece,
    binary_relax,
    hard_tanh,
    linear_quantizer,
    monotone_sign_swish,
    parq,
    projector,
    reste,
    sign,
    sign_swish,
    slope_of,
    soft_threshold,
    tanh,
    w_shaped,
)


def inside(piece: Piece, count: int = 201) -> Tensor:
    """Points in the interior of a piece, crowding towards its ends; unbounded pieces are cut far out."""
    reach = 10.0 ** torch.linspace(-9, 6, count, dtype=torch.float64)
    if piece.start == -math.inf and piece.end == math.inf:
        return torch.cat([-reach.flip(0), reach])
    if piece.start == -math.inf:
        return piece.end - reach.flip(0)
    if piece.end == math.inf:
        return piece.start + reach
    ramp = torch.linspace(0, 1, count + 2, dtype=torch.float64)[1:-1]
    return piece.start + (piece.end - piece.start) * ramp


def beside(end: float, step: int, mu: float) -> float:
    """Return a point so near to the end of a piece that a slope up to ``mu`` does not matter."""
    return end + step * max(1e-9 * min(1, 1 / mu), 8 * math.ulp(end))


def test_pieces_partition_the_line(any_map: ElementwiseMap, mu: float) -> None:
    pieces = any_map.pieces(mu)
    assert pieces[0].start == -math.inf
    assert pieces[-1].end == math.inf
    assert [piece.end for piece in pieces[:-1]] == [piece.start for piece in pieces[1:]]
    assert every(piece.start < piece.end for piece in pieces)


def test_pieces_have_the_declared_trend_and_limits(any_map: ElementwiseMap, mu: float) -> None:
    for piece in some(any_map.pieces(mu)):
        w = inside(piece)
        value = any_map(w, mu)
        rise, rounding = value.diff(), 1e-12 * value.abs().max().clamp(min=1)
        low, high = sorted((piece.start_value, piece.end_value))
        assert ((value >= low - rounding) & (value <= high + rounding)).all()
        if piece.trend == "flat":
            assert piece.start_value == piece.end_value
            assert (rise.abs() <= rounding).all()
        else:
            direction = 1 if piece.trend == "rising" else -1
            assert (direction * rise >= -rounding).all()
            assert direction * (piece.end_value - piece.start_value) > 0
        for end, limit, step in ((piece.start, piece.start_value, 1), (piece.end, piece.end_value, -1)):
            if math.isfinite(end):
                near = torch.tensor([beside(end, step, mu)], dtype=torch.float64)
                assert any_map(near, mu).item() == pytest.approx(limit, rel=1e-6, abs=1e-6)
            else:
                assert any_map(torch.tensor([end], dtype=torch.float64), mu).item() == pytest.approx(limit)


def test_slopes_have_the_declared_signs_and_limits(any_map: ElementwiseMap, mu: float) -> None:
    signs = slope_of(any_map).signs
    assert signs is not None
    for piece in signs(mu):
        slope = slope_of(any_map)(inside(piece), mu)
        assert (slope * piece.sign >= 0).all()
        if piece.sign:
            assert (slope * piece.sign > 0).any()
        if piece.constant is not None:
            assert piece.sign == (piece.constant > 0)
            torch.testing.assert_close(slope, torch.full_like(slope, piece.constant), rtol=1e-9, atol=0)
        for end, limit, step in ((piece.start, piece.start_value, 1), (piece.end, piece.end_value, -1)):
            near = beside(end, step, mu) if math.isfinite(end) else 1e9 * math.copysign(1, end)
            at_end = any_map.slope(torch.tensor([near], dtype=torch.float64), mu).item()
            assert at_end == pytest.approx(limit, rel=1e-6, abs=1e-6 * mu)


def shape(map_: ElementwiseMap, mu: float) -> list[tuple[float, float, str]]:
    return [(piece.start, piece.end, piece.trend) for piece in map_.pieces(mu)]


def jumps(map_: ElementwiseMap, mu: float) -> list[float]:
    return [left.end for left, right in pairwise(map_.pieces(mu)) if left.end_value != right.start_value]


def test_shapes_known_from_the_paper() -> None:
    inf, turn = math.inf, pytest.approx(2.39936 / 4, abs=1e-5)
    assert shape(sign, 4.0) == [(-inf, 0, "flat"), (0, inf, "flat")]
    assert shape(sign_swish, 4.0)[1][1] == turn
    assert [trend for *_, trend in shape(sign_swish, 4.0)] == ["falling", "rising", "falling"]
    assert [trend for *_, trend in shape(monotone_sign_swish, 4.0)] == ["flat", "rising", "flat"]
    assert shape(tanh, 4.0) == [(-inf, inf, "rising")]
    assert shape(linear_quantizer((-1, 0, 1)), 2.0) == [
        (-inf, -0.75, "flat"),
        (-0.75, -0.25, "rising"),
        (-0.25, 0.25, "flat"),
        (0.25, 0.75, "rising"),
        (0.75, inf, "flat"),
    ]
    assert shape(linear_quantizer((-1, 0, 1)), 1.0) == shape(parq((-1, 0, 1)), 1.0)
    assert shape(parq((-1, 0, 1)), 1.0) == [(-inf, -1, "flat"), (-1, 1, "rising"), (1, inf, "flat")]
    assert shape(linear_quantizer((-1, 0, 1), rho=0.95, varrho=0.05), 1.0) == shape(parq((-1, 0, 1)), 1.0)
    assert shape(soft_threshold, 0.5) == [(-inf, -0.5, "rising"), (-0.5, 0.5, "flat"), (0.5, inf, "rising")]
    assert shape(reste(), 3.0)[2] == (-0.1, 0.1, "rising")
    assert shape(reste(), 1.0) == [(-inf, -1.5, "flat"), (-1.5, 1.5, "rising"), (1.5, inf, "flat")]


def test_jumps_are_where_the_maps_jump() -> None:
    for map_ in (projector((-1, 0, 1)), binary_relax((-1, 0, 1)), w_shaped((-1, 0, 1))):
        assert jumps(map_, 0.2) == [-0.5, 0.5]
    for map_ in (hard_tanh, tanh, sign_swish, monotone_sign_swish, reste(), linear_quantizer((-1, 0, 1))):
        assert jumps(map_, 3.0) == []
    assert jumps(linear_quantizer(rho=0, varrho=0.5), 1.0) == [0.0]


def test_slope_of_an_undeclared_map_declares_nothing() -> None:
    plain = ElementwiseMap("plain", hard_tanh.value, hard_tanh.slope)
    assert slope_of(plain).signs is None
    assert slope_of(plain) == slope_of(plain) != slope_of(hard_tanh)
