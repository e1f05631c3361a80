"""Convex potentials and implicit regularizers: formula, quadrature and definition agree."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from all_maps import RISING_MAPS
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import proxconnect as pc
from proxconnect.quantizers import (
    Elementwise,
    ElementwiseMap,
    ForwardBackward,
    projector,
    sign,
    sign_swish,
    soft_threshold,
)
from proxconnect.theory import convex_potential, implicit_regularizer

TERNARY, UNEVEN = (-1, 0, 1), (-2.0, -0.5, 1.0, 4.0)
MUS = (1.0, 2.5, 40.0)


def doubles(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def grid(low: float, high: float, count: int) -> Tensor:
    return torch.linspace(low, high, count, dtype=torch.float64)


def opaque(map_: ElementwiseMap) -> Elementwise:
    """Return the map without its declarations."""
    return lambda w, mu: map_(w, mu)


def name(value: object) -> str:
    return value.name if isinstance(value, ElementwiseMap) else str(value)


@pytest.mark.parametrize("mu", [pytest.param(mu, marks=() if mu == 2.5 else pytest.mark.full) for mu in MUS])
@pytest.mark.parametrize("map_", RISING_MAPS, ids=name)
def test_quadrature_agrees_with_the_closed_form(map_: ElementwiseMap, mu: float) -> None:
    closed, numeric = convex_potential(map_, mu), convex_potential(opaque(map_), mu)
    assert closed.closed_form
    assert not numeric.closed_form
    w = torch.cat([grid(-6, 6, 61), doubles(-1e3, 1e-3, 77.7)])
    # The places of jumps are found to some 1e-9 alone.
    torch.testing.assert_close(numeric.R_conjugate(w), closed.R_conjugate(w), rtol=1e-8, atol=1e-9)
    z = torch.cat([map_(w, mu), grid(-5.1, 5.1, 52)])
    torch.testing.assert_close(numeric.R(z), closed.R(z), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("mu", MUS)
@pytest.mark.parametrize("map_", RISING_MAPS, ids=name)
def test_the_map_minimises_its_regularizer(map_: ElementwiseMap, mu: float) -> None:
    w = torch.cat([grid(-5, 5, 41), doubles(0.0)])
    value = map_(w, mu)
    for gaps in ("smallest", "largest"):
        z = torch.cat([grid(-6, 6, 4001), value])  # a fine grid, and the values that should win
        objective = implicit_regularizer(map_, z, mu, gaps=gaps) + (z - w[:, None]).square() / 2
        reached = implicit_regularizer(map_, value, mu, gaps=gaps) + (value - w).square() / 2
        assert reached.isfinite().all()
        assert (objective >= reached[:, None] - 1e-9).all()


@pytest.mark.parametrize("map_", RISING_MAPS, ids=name)
def test_fenchel(map_: ElementwiseMap) -> None:
    potential = convex_potential(map_, 2.5)
    w, z = grid(-5, 5, 101), grid(-4, 4, 81)
    value = map_(w, 2.5)
    torch.testing.assert_close(potential.R(value) + potential.R_conjugate(w), value * w, rtol=1e-9, atol=1e-9)
    assert (potential.R(z) + potential.R_conjugate(w)[:, None] - z * w[:, None] >= -1e-9).all()


@pytest.mark.parametrize("levels", [(-1.0, 1.0), TERNARY, UNEVEN], ids=str)
@pytest.mark.parametrize("hide", [False, True], ids=["declared", "numeric"])
def test_the_two_choices_in_a_gap(levels: tuple[float, ...], hide: bool) -> None:
    map_ = opaque(projector(levels)) if hide else projector(levels)
    at, between = doubles(*levels), doubles(*((a + b) / 2 for a, b in pairwise(levels)))
    largest = implicit_regularizer(map_, torch.cat([at, between]), gaps="largest")
    assert torch.equal(largest.isfinite(), torch.tensor([True] * len(at) + [False] * len(between)))
    # r is the indicator of the levels: the same at each.
    torch.testing.assert_close(largest[: len(at)], largest[:1].expand(len(at)))
    middle = implicit_regularizer(map_, between)
    affine = implicit_regularizer(map_, at)
    expected = affine[0] + (at[1:] - at[:-1]).square() / 8  # the chord of z^2/2 lies (q' - q)^2/8 above it
    torch.testing.assert_close(middle, expected)


def test_infinite_outside_the_hull() -> None:
    z = doubles(-1.01, -1.0, 1.0, 1.01)
    for pair in ("bc", "pc", "hardtanh", "poly+", "bnn++m"):
        assert implicit_regularizer(pc.method(pair), z, 3.0).isinf().tolist() == [True, False, False, True]
    assert implicit_regularizer(pc.method("binary-relax"), z, 3.0).isfinite().all()


@pytest.mark.parametrize("mu", MUS)
def test_a_callable_that_approaches_its_bounds(mu: float) -> None:
    """The ends of the range belong to the hull, although no finite argument maps to them."""
    potential = convex_potential(lambda w, mu: torch.tanh(mu * w), mu)
    torch.testing.assert_close(potential.R(doubles(-1.0, 1.0)), doubles(1.0, 1.0) * math.log(2) / mu)
    assert potential.R(doubles(1 + 1e-9)).isinf()


@settings(max_examples=12, deadline=None)
@given(
    knots=st.lists(st.integers(-192, 192).map(lambda k: k / 64), min_size=1, max_size=4, unique=True),
    rises=st.lists(st.floats(0.01, 2), min_size=4, max_size=4),
    slope=st.floats(0, 2),
)
def test_any_staircase_with_a_ramp(knots: list[float], rises: list[float], slope: float) -> None:
    """Undeclared jumps are found anywhere: ``P = slope w + sum rise 1{w >= knot}``."""

    def staircase(w: Tensor, mu: float | Tensor) -> Tensor:
        value = slope * w
        for knot, rise in zip(knots, rises, strict=False):
            value = value + rise * (w >= knot).to(w.dtype)
        return value

    potential = convex_potential(staircase)
    w = grid(-4, 4, 33)
    expected = slope * w.square() / 2
    for knot, rise in zip(knots, rises, strict=False):
        expected = expected + rise * ((w - knot).clamp(min=0) - max(-knot, 0.0))
    torch.testing.assert_close(potential.R_conjugate(w), expected, rtol=1e-9, atol=1e-9)
    value = staircase(w, 1.0)
    torch.testing.assert_close(potential.R(value) + expected, value * w, rtol=1e-9, atol=1e-9)
    knot = doubles(knots[0])
    below, above = staircase(knot - 1e-12, 1.0), staircase(knot, 1.0)
    middle = (below + above) / 2
    assert potential.in_gap(middle).all()
    between = potential.R(torch.cat([below, middle, above]))
    torch.testing.assert_close(between[1], (between[0] + between[2]) / 2, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_keeps_shape_and_dtype(dtype: torch.dtype) -> None:
    z = torch.tensor([[0.0, 0.5], [1.0, 2.0]], dtype=dtype)
    r = implicit_regularizer(pc.method("hardtanh"), z, 4.0)
    assert r.dtype == dtype
    torch.testing.assert_close(
        r.double(), doubles(0, -0.09375, -0.375, math.inf).view(2, 2), rtol=1e-3, atol=0
    )


def test_a_number_is_taken_in_float64() -> None:
    assert implicit_regularizer(soft_threshold, 0.3, 0.7).item() == pytest.approx(0.21, rel=1e-15)


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (sign_swish, r"sign-swish must be nondecreasing, but it falls on \(-inf, -2.39936\)"),
        (lambda w, mu: sign_swish(w, mu), "it falls on .*, from .* to"),
        (lambda w, mu: -sign(w, mu), "it falls at .*, from 1 at .* to -1 at"),
        (lambda w, mu: w - 2.5e-3 * torch.exp(-(((w - 0.3) / 1e-3) ** 2)), r"it falls on \(0\.29"),
        (lambda w, mu: 1 / w, "is inf at w = 0"),
    ],
)
def test_refuses_what_is_no_proximal_map(forward: Elementwise, message: str) -> None:
    with pytest.raises(pc.ProxConnectError, match=message):
        implicit_regularizer(ForwardBackward(forward, forward), 0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"z": 0.5, "mu": 0.0}, "mu must be a positive finite number, not 0.0"),
        ({"z": 0.5, "mu": math.nan}, "mu must be a positive finite number, not nan"),
        ({"z": math.nan}, "z must be a finite number"),
        ({"z": torch.tensor([1])}, "z must be a finite number or a float tensor"),
        ({"z": 0.5, "gaps": "middle"}, "'smallest' or 'largest', not 'middle'"),
    ],
)
def test_refuses_bad_arguments(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(pc.ProxConnectError, match=message):
        implicit_regularizer(sign, **arguments)
