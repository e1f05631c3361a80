"""``R*`` is the integral of the map, ``R`` its conjugate, and the map minimises ``r(z) + (z - w)^2 / 2``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from proxconnect import implicit_regularizer
from proxconnect.quantizers import (
    ElementwiseMap,
    binary_relax,
    hard_tanh,
    monotone_sign_swish,
    parq,
    polynomial,
    projector,
    reste,
    sign_swish,
    soft_threshold,
    tanh,
    w_shaped,
)
from proxconnect.theory import convex_potential

NODES, WEIGHTS = (torch.from_numpy(array) for array in np.polynomial.legendre.leggauss(16))
sharpness = st.floats(0.1, 20)
TURN = 2 * 1.1996786402577338


def integral(map_: ElementwiseMap, w: float, mu: float) -> float:
    """``int_0^w`` of the map, smooth piece by smooth piece."""
    ends = sorted({0.0, w, *(piece.end for piece in map_.pieces(mu)[:-1] if 0 < piece.end / w < 1)}, key=abs)
    grid = torch.cat([torch.linspace(a, b, 65, dtype=torch.float64) for a, b in pairwise(ends)])
    half, middle = (grid[1:] - grid[:-1]) / 2, (grid[1:] + grid[:-1]) / 2
    return ((map_(middle[:, None] + half[:, None] * NODES, mu) @ WEIGHTS) @ half).item()


@settings(max_examples=25, deadline=None)
@given(w=st.floats(0.01, 4), side=st.sampled_from([-1, 1]), mu=sharpness)
def test_conjugate_is_the_integral_of_the_map(
    any_map: ElementwiseMap, w: float, side: int, mu: float
) -> None:
    if any_map is sign_swish:
        w = min(w, TURN / mu)  # beyond the turn it is the integral of the monotone part
    expected = integral(any_map, side * w, mu)
    declared = any_map.conjugate(torch.tensor([side * w], dtype=torch.float64), mu).item()
    assert declared == pytest.approx(expected, rel=1e-8, abs=1e-10)


def arguments(map_: ElementwiseMap, mu: float) -> Tensor:
    """Latents that reach all of the map's range, kinks and jumps included."""
    places = [piece.end for piece in map_.pieces(mu)[:-1]] or [0.0]
    wide = torch.linspace(min(places) - 6, max(places) + 6, 4001, dtype=torch.float64)
    near = torch.linspace(-8 / mu, 8 / mu, 2001, dtype=torch.float64)
    grid = torch.cat([wide, near, torch.tensor(places, dtype=torch.float64)]).unique()
    return grid[grid.abs() <= TURN / mu] if map_ is sign_swish else grid


def test_potential_is_the_conjugate_of_the_conjugate(any_map: ElementwiseMap) -> None:
    for mu in (0.4, 1.0, 6.0):
        w = arguments(any_map, mu)
        conjugate, value = any_map.conjugate(w, mu), any_map(w, mu)
        z = torch.cat([value[::25], torch.linspace(value.min(), value.max(), 301, dtype=torch.float64)])
        # The supremum of z w - R*(w) over all w; a grid falls short of it by a second-order term.
        below = (z[:, None] * w - conjugate).amax(dim=1)
        potential = any_map.potential(z, mu)
        assert (potential >= below - 1e-9).all()
        torch.testing.assert_close(potential, below, rtol=1e-3, atol=1e-4)


@settings(max_examples=25, deadline=None)
@given(w=st.floats(-4, 4), mu=sharpness)
@example(w=2.0, mu=4.0)  # at the end of ReSTE's range, by one rounding beyond it
def test_value_and_argument_are_conjugate(any_map: ElementwiseMap, w: float, mu: float) -> None:
    if any_map is sign_swish:
        w = max(min(w, TURN / mu), -TURN / mu)
    latent = torch.tensor([w], dtype=torch.float64)
    z = any_map(latent, mu)
    total = any_map.potential(z, mu) + any_map.conjugate(latent, mu)
    assert total.item() == pytest.approx((z * latent).item(), rel=1e-7, abs=1e-7)


DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


@settings(max_examples=40, deadline=None)
@given(
    dtype=st.sampled_from(DTYPES),
    places=st.lists(st.floats(-8, 8, width=16), min_size=1, max_size=20),
    exponent=st.floats(-8, 8),
    as_tensor=st.sampled_from([None, torch.float32, torch.float64]),
)
def test_values_lie_in_the_domain_of_the_potential(
    any_map: ElementwiseMap,
    dtype: torch.dtype,
    places: list[float],
    exponent: float,
    as_tensor: torch.dtype | None,
) -> None:
    mu = 10**exponent
    sharpness = mu if as_tensor is None else torch.tensor(mu, dtype=as_tensor)
    ends = [piece.end for piece in any_map.pieces(mu)[:-1]]
    near = torch.tensor(places, dtype=torch.float64)
    w = torch.cat([near, near / mu, *(end + near * 2.0**-40 for end in ends), torch.tensor([1e4, -1e4])])
    number = torch.finfo(dtype)
    w = w.clamp(number.min, number.max).to(dtype)
    z, mu = any_map(w, sharpness), float(sharpness)
    assert z.isfinite().all()
    assert any_map.potential(z, mu).isfinite().all()
    if any_map is not sign_swish:
        assert convex_potential(any_map, mu, epsilon=number.eps).R(z.double()).isfinite().all()


@pytest.mark.parametrize(
    "dtype",
    [
        torch.bfloat16,
        torch.float32,
        *(pytest.param(dtype, marks=pytest.mark.full) for dtype in (torch.float64, torch.float16)),
    ],
    ids=str,
)
def test_regularizer_is_finite_at_values(rising_map: ElementwiseMap, dtype: torch.dtype, mu: float) -> None:
    ends = [piece.end for piece in rising_map.pieces(mu)[:-1]]
    w = torch.tensor([0.0, 1.0, -3.0, 9.0, *ends], dtype=torch.float64).clamp(-6e4, 6e4).to(dtype)
    z = rising_map(w, mu)
    assert implicit_regularizer(rising_map, z, mu).abs().max() <= torch.finfo(dtype).max
    if mu >= 0.3:  # at smaller mu some gaps are narrower than the roundings of a value
        assert implicit_regularizer(rising_map, z, mu, gaps="largest").isfinite().all()


def test_values_of_a_wide_power_lie_in_its_range() -> None:
    for m, t in ((1e-3, 1e6), (0.5, 0.9), (3.0, 1e30)):
        for dtype in DTYPES:
            w = torch.tensor([t, 2 * t, -math.inf], dtype=torch.float64).to(dtype)
            for mu in (1.0, 1.3, 3.0, torch.tensor(7.5)):
                assert reste(m, t).potential(reste(m, t)(w, mu), float(mu)).isfinite().all()


def test_potential_is_infinite_outside_the_range(any_map: ElementwiseMap, mu: float) -> None:
    pieces = any_map.pieces(mu)
    low = min(min(piece.start_value, piece.end_value) for piece in pieces)
    high = max(max(piece.start_value, piece.end_value) for piece in pieces)
    outside = torch.tensor([low * 1.001 - 1e-3, high * 1.001 + 1e-3], dtype=torch.float64)
    for z, end in zip(outside, (low, high), strict=True):
        if math.isfinite(end):
            assert any_map.potential(z, mu) == math.inf
            assert any_map.potential(torch.tensor(end, dtype=torch.float64), mu).isfinite()
        else:
            far = torch.tensor(math.copysign(1e9, end), dtype=torch.float64)
            assert any_map.potential(far, mu).isfinite()


def test_potential_has_minimum_zero_and_conjugate_starts_at_zero(any_map: ElementwiseMap, mu: float) -> None:
    zero = torch.zeros(1, dtype=torch.float64)
    assert any_map.conjugate(zero, mu) == 0
    assert any_map.potential(any_map(zero, mu), mu).item() == pytest.approx(0, abs=1e-12)
    assert (any_map.potential(torch.linspace(-4, 4, 801, dtype=torch.float64), mu) >= -1e-12).all()


def distance(z: Tensor, levels: Sequence[float]) -> Tensor:
    return (z[:, None] - torch.tensor(levels, dtype=z.dtype)).abs().amin(dim=1)


SETS = [(-1, 1), (-1, 0, 1), (-2.5, -0.75, 0.25, 3)]
PENALTIES: list[tuple[ElementwiseMap, Callable[[Tensor, float], Tensor]]] = [
    *((w_shaped(q), lambda z, mu, q=q: mu * distance(z, q)) for q in SETS),
    *((binary_relax(q), lambda z, mu, q=q: mu / 2 * distance(z, q) ** 2) for q in SETS),
    *((projector(q), lambda z, mu, q=q: torch.where(distance(z, q) < 1e-9, 0.0, math.inf)) for q in SETS),
    (soft_threshold, lambda z, mu: mu * z.abs()),
]


@pytest.mark.parametrize(("map_", "penalty"), PENALTIES, ids=lambda x: getattr(x, "name", ""))
@settings(max_examples=50, deadline=None)
@given(w=st.floats(-5, 5), mu=st.floats(0.01, 10))
def test_solves_the_argmin_that_it_states(
    map_: ElementwiseMap, penalty: Callable[[Tensor, float], Tensor], w: float, mu: float
) -> None:
    latent = torch.tensor([w], dtype=torch.float64)
    grid = torch.arange(-48_000, 48_001, dtype=torch.float64) / 8000
    best = (penalty(grid, mu) + (grid - w) ** 2 / 2).min()
    found = map_(latent, mu)
    assert (penalty(found, mu) + (found - w) ** 2 / 2).item() <= best.item() + 1e-9


def power_potential(z: Tensor, mu: float) -> Tensor:
    """``int_0^|z| max(0.1^(1 - 1/mu) x, x^mu) dx``; the two meet at ``0.1^(1/mu)``."""
    corner, a = 0.1 ** (1 / mu), z.abs()
    line = 0.1 ** (1 - 1 / mu) * a.clamp(max=corner) ** 2 / 2
    return line + (a.clamp(min=corner) ** (mu + 1) - corner ** (mu + 1)) / (mu + 1)


def entropy(y: Tensor) -> Tensor:
    return torch.special.xlogy(1 + y, 1 + y) + torch.special.xlogy(1 - y, 1 - y)


# The objective over z that a map states as its argmin, and how far its z may lie from 0.
OBJECTIVES: list[
    tuple[ElementwiseMap, Callable[[Tensor, float, float], Tensor], Callable[[float], float]]
] = [
    (hard_tanh, lambda z, w, mu: (z - mu * w) ** 2 / 2, lambda mu: 1),
    (
        tanh,
        lambda z, w, mu: max(1 / mu, 1) / (2 * mu) * entropy(z / max(1 / mu, 1)) - w * z,
        lambda mu: max(1 / mu, 1),
    ),
    (
        polynomial,
        lambda z, w, mu: (z.abs() - 2 / 3 * (1 - (1 - z.abs()) ** 1.5)) / mu - w * z,
        lambda mu: 1,
    ),
    (reste(), lambda z, w, o: power_potential(z, max(o, 1)) - w * z, lambda o: 1.5 ** (1 / max(o, 1))),
    (parq(), lambda z, w, mu: z**2 / (2 * mu) - w * z, lambda mu: 1),
]


@pytest.mark.parametrize(("map_", "objective", "reach"), OBJECTIVES, ids=lambda x: getattr(x, "name", ""))
@settings(max_examples=50, deadline=None)
@given(w=st.floats(-5, 5), mu=st.floats(0.1, 10))
def test_solves_the_argmin_that_it_states_on_an_interval(
    map_: ElementwiseMap,
    objective: Callable[[Tensor, float, float], Tensor],
    reach: Callable[[float], float],
    w: float,
    mu: float,
) -> None:
    z = torch.linspace(-1, 1, 20_001, dtype=torch.float64) * reach(mu)
    found = map_(torch.tensor([w], dtype=torch.float64), mu)
    assert found.abs().item() <= reach(mu) * (1 + 1e-12)
    found = found.clamp(-reach(mu), reach(mu))
    assert objective(found, w, mu).item() <= objective(z, w, mu).min().item() + 1e-9


@settings(max_examples=25, deadline=None)
@given(w=st.floats(-5, 5), mu=sharpness)
def test_minimises_its_implicit_regulariser(rising_map: ElementwiseMap, w: float, mu: float) -> None:
    latent = torch.tensor([w], dtype=torch.float64)
    found = rising_map(latent, mu)
    grid = torch.linspace(-6, 6, 4801, dtype=torch.float64)
    regulariser = rising_map.potential(grid, mu) - grid**2 / 2
    at_found = rising_map.potential(found, mu) - found**2 / 2 + (found - latent) ** 2 / 2
    assert at_found.item() <= (regulariser + (grid - latent) ** 2 / 2).min().item() + 1e-9 * (1 + w * w)


@pytest.mark.parametrize("map_", [hard_tanh, tanh, monotone_sign_swish, parq()], ids=lambda m: m.name)
def test_small_potentials_keep_their_relative_precision(map_: ElementwiseMap) -> None:
    w = torch.tensor([1e-6], dtype=torch.float64)
    for mu in (1e-3, 1.0, 10.0):
        slope = map_.slope(torch.zeros_like(w), mu)
        torch.testing.assert_close(map_.conjugate(w, mu), slope * w**2 / 2, rtol=1e-8, atol=0)
        torch.testing.assert_close(map_.potential(slope * w, mu), slope * w**2 / 2, rtol=1e-8, atol=0)


def test_keeps_dtype_and_shape(any_map: ElementwiseMap) -> None:
    z = torch.zeros(2, 3, dtype=torch.float32)
    for function in (any_map.potential, any_map.conjugate):
        assert function(z, 2.0).dtype == torch.float32
        assert function(z, 2.0).shape == (2, 3)
