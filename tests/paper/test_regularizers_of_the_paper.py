"""The table of closed forms, row by row in the paper's notation, against the definition alone.

``R*(w) = int_0^w P`` and ``R = (R*)*`` are found here by quadrature of the literal map, which declares
nothing; ``pc.implicit_regularizer`` of the catalogue must agree as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

import proxconnect as pc
from proxconnect.quantizers import (
    ElementwiseMap,
    binary_relax,
    hard_tanh,
    linear_quantizer,
    monotone_sign_swish,
    polynomial,
    projector,
    sign,
    soft_threshold,
    tanh,
    w_shaped,
)
from proxconnect.theory import convex_potential, implicit_regularizer

TURN = 2.3993572805154676
TOP = TURN / 2
LEVELS = (-1.5, -0.5, 0.0, 2.0)


@dataclass(frozen=True)
class Row:
    """A map with its ``R*`` and ``R``, as functions of the argument, and the catalogue's version of it."""

    name: str
    value: Callable[[Tensor], Tensor]
    conjugate: Callable[[Tensor], Tensor]
    potential: Callable[[Tensor], Tensor]
    ours: ElementwiseMap
    mu: float


def sgn(w: Tensor) -> Tensor:
    return torch.where(w >= 0, 1.0, -1.0).to(w.dtype)


def within(bound: float, z: Tensor, value: Tensor) -> Tensor:
    return value.where(z.abs() <= bound, math.inf)


def nearest(w: Tensor) -> Tensor:
    levels = torch.tensor(LEVELS, dtype=w.dtype)
    return levels[torch.bucketize(w, (levels[1:] + levels[:-1]) / 2, right=True)]


def interpolated(z: Tensor) -> Tensor:
    levels = torch.tensor(LEVELS, dtype=z.dtype)
    k = torch.bucketize(z, levels[1:-1])
    low, high = levels[k], levels[k + 1]
    chord = low**2 / 2 + (z - low) * (low + high) / 2
    return chord.where((z >= levels[0]) & (z <= levels[-1]), math.inf)


def soft(w: Tensor, l: float) -> Tensor:  # noqa: E741
    return sgn(w) * (w.abs() - l).clamp(min=0)


def sech2(x: Tensor) -> Tensor:
    return 1 / torch.cosh(x) ** 2


def sign_swish(u: Tensor) -> Tensor:
    return torch.tanh(u / 2) + u / 2 * sech2(u / 2)


def clipped(mu: float) -> Row:
    return Row(
        f"clip {mu}",
        lambda w: (mu * w).clamp(-1, 1),
        lambda w: torch.where(w.abs() <= 1 / mu, mu * w**2 / 2, w.abs() - 1 / (2 * mu)),
        lambda z: within(1, z, z**2 / (2 * mu)),
        hard_tanh,
        mu,
    )


def stretched(t: float) -> Row:
    k = max(1 / t, 1.0)
    return Row(
        f"tanh {t}",
        lambda w: k * torch.tanh(t * w),
        lambda w: k / t * torch.log(torch.cosh(t * w)),
        lambda z: within(
            k,
            z,
            k
            / (2 * t)
            * (torch.special.xlogy(1 + z / k, 1 + z / k) + torch.special.xlogy(1 - z / k, 1 - z / k)),
        ),
        tanh,
        t,
    )


def w_prox(l: float) -> Row:  # noqa: E741
    def conjugate(w: Tensor) -> Tensor:
        a = w.abs()
        if l < 1:
            far = (a - l) ** 2 / 2 + 2 * l - l**2 / 2
            middle = torch.where(a <= 1 + l, a - (1 - l) ** 2 / 2, far)
            return torch.where(a <= 1 - l, l * a + a**2 / 2, middle)
        return torch.where(a <= 1 + l, a, (a - l) ** 2 / 2 + l + 0.5)

    def potential(z: Tensor) -> Tensor:
        a = z.abs()
        beyond = (a**2 - 1) / 2 + l * (a - 1)
        if l < 1:
            inner = torch.where(a <= l, 0.0, (a - l) ** 2 / 2)
            return torch.where(a <= 1, inner, (1 - l) ** 2 / 2 + beyond)
        return torch.where(a <= 1, 0.0, beyond)

    return Row(f"W {l}", lambda w: sgn(w) + soft(w - sgn(w), l), conjugate, potential, w_shaped(), l)


def relaxed(l: float) -> Row:  # noqa: E741
    return Row(
        f"binary relax {l}",
        lambda w: (w + l * sgn(w)) / (1 + l),
        lambda w: (w**2 / 2 + l * w.abs()) / (1 + l),
        lambda z: (1 + l) / 2 * (z.abs() - l / (1 + l)).clamp(min=0) ** 2,
        binary_relax(),
        l,
    )


def linear(rho: float, varrho: float) -> Row:
    c = 1 - varrho / 2

    def value(w: Tensor) -> Tensor:
        a = w.abs()
        flat = c + (a - rho / 2) * (1 - c) / (1 - rho / 2)
        return sgn(w) * torch.where(a <= rho / 2, 2 * c * a / rho, torch.where(a <= 1, flat, 1.0))

    def conjugate(w: Tensor) -> Tensor:
        a, h = w.abs(), rho / 2
        ramp, s = c * a.clamp(max=h) ** 2 / rho, (a.clamp(h, 1) - h)
        return ramp + c * s + (1 - c) / (1 - h) * s**2 / 2 + (a - 1).clamp(min=0)

    def potential(z: Tensor) -> Tensor:
        a = z.abs()
        outer = rho * c / 4 + rho / 2 * (a - c) + (1 - rho / 2) / varrho * (a - c) ** 2
        return within(1, z, torch.where(a <= c, rho * z**2 / (4 * c), outer))

    return Row(f"L {rho} {varrho}", value, conjugate, potential, linear_quantizer((-1, 1), rho, varrho), 1.0)


def swish_scaled(mu: float) -> Row:
    """Divide the monotone part by its top so that it closes onto +-1, with ``R`` through the argument."""

    def conjugate(w: Tensor) -> Tensor:
        a, turn = w.abs(), TURN / mu
        return (
            torch.where(a <= turn, a * torch.tanh(mu * a / 2), turn * math.tanh(TOP) + TOP * (a - turn)) / TOP
        )

    def potential(z: Tensor) -> Tensor:
        low, high = torch.zeros_like(z), torch.full_like(z, TURN)
        for _ in range(60):
            middle = (low + high) / 2
            below = sign_swish(middle) / TOP < z.abs()
            low, high = middle.where(below, low), high.where(below, middle)
        w = high / mu
        return within(1, z, mu * w**2 / 2 * sech2(mu * w / 2) / TOP)

    def value(w: Tensor) -> Tensor:
        return sign_swish((mu * w).clamp(-TURN, TURN)) / TOP

    return Row(f"sign-swish {mu}", value, conjugate, potential, monotone_sign_swish, mu)


ROWS = (
    Row("projector", sgn, lambda w: w.abs(), lambda z: within(1, z, 0 * z), sign, 1.0),
    Row(
        "P_Q",
        nearest,
        lambda w: torch.stack([q * w - q**2 / 2 for q in LEVELS]).amax(0) + min(q**2 / 2 for q in LEVELS),
        lambda z: interpolated(z) - min(q**2 / 2 for q in LEVELS),
        projector(LEVELS),
        1.0,
    ),
    clipped(1.0),
    clipped(7.0),
    stretched(0.1),
    stretched(3.0),
    Row(
        "polynomial",
        lambda w: sgn(w) * torch.where(w.abs() < 1, 2 * w.abs() - w**2, 1.0),
        lambda w: torch.where(w.abs() <= 1, w**2 - w.abs() ** 3 / 3, w.abs() - 1 / 3),
        lambda z: within(1, z, z.abs() - 2 / 3 * (1 - (1 - z.abs()).clamp(min=0) ** 1.5)),
        polynomial,
        1.0,
    ),
    w_prox(0.3),
    w_prox(1.0),
    w_prox(2.5),
    relaxed(0.4),
    relaxed(5.0),
    Row(
        "soft threshold",
        lambda w: soft(w, 0.7),
        lambda w: (w.abs() - 0.7).clamp(min=0) ** 2 / 2,
        lambda z: z**2 / 2 + 0.7 * z.abs(),
        soft_threshold,
        0.7,
    ),
    swish_scaled(1.0),
    swish_scaled(4.0),
    linear(0.8, 0.5),
    linear(1.5, 0.4),
)

each_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
W = torch.linspace(-5, 5, 101, dtype=torch.float64)
Z = torch.arange(-55, 56, dtype=torch.float64) / 25  # with -1 and 1 exactly


@each_row
def test_closed_forms_are_integral_and_conjugate(row: Row) -> None:
    potential = convex_potential(lambda w, mu: row.value(w))
    torch.testing.assert_close(potential.R_conjugate(W), row.conjugate(W), rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(potential.R(Z), row.potential(Z), rtol=1e-8, atol=1e-9)


@each_row
def test_the_catalogue_has_these_forms(row: Row) -> None:
    torch.testing.assert_close(row.ours(W, row.mu), row.value(W), rtol=1e-9, atol=1e-12)
    r = implicit_regularizer(row.ours, Z, row.mu)
    torch.testing.assert_close(r, row.potential(Z) - Z**2 / 2, rtol=1e-8, atol=1e-9)


@each_row
def test_the_potentials_are_convex_and_p_is_a_slope_of_the_conjugate(row: Row) -> None:
    p, conjugate = row.value(W), row.conjugate(W)
    chords = conjugate[:, None] + p[:, None] * (W - W[:, None])
    assert bool((conjugate >= chords - 1e-9).all())
    inside = row.potential(Z)[row.potential(Z).isfinite()]
    assert bool((inside.diff().diff() >= -1e-9).all())


WITH_JUMPS = [row for row in ROWS if row.name.startswith(("projector", "P_Q", "W", "binary relax"))]


@pytest.mark.parametrize("row", WITH_JUMPS, ids=lambda row: row.name)
def test_r_is_free_in_the_gaps_of_the_range(row: Row) -> None:
    """``R`` is affine across them; whatever ``r`` is from there to ``+inf``, P(w) minimises r + (z-w)^2/2."""
    z = torch.arange(-44, 45, dtype=torch.float64) / 20  # with all levels exactly
    potential = convex_potential(row.ours, row.mu)
    smallest = implicit_regularizer(row.ours, z, row.mu)
    largest = implicit_regularizer(row.ours, z, row.mu, gaps="largest")
    gap = potential.in_gap(z).bool()
    assert bool(gap.any())
    assert bool(largest[gap].isinf().all())
    assert torch.equal(largest[~gap], smallest[~gap])
    runs = gap[:-2] & gap[1:-1] & gap[2:]
    assert potential.R(z).diff().diff()[runs].abs().max().item() < 1e-12
    p = row.value(W)
    reached = implicit_regularizer(row.ours, p, row.mu) + (p - W).square() / 2
    for share in (0.0, 0.3, 5.0):
        r = smallest + share * gap
        assert bool(((r + (z - W[:, None]).square() / 2) >= reached[:, None] - 1e-9).all())


@each_row
def test_the_smallest_potential_is_zero(row: Row) -> None:
    values = row.potential(torch.cat([Z, torch.zeros(1, dtype=torch.float64)]))
    assert values.min().item() == pytest.approx(0, abs=1e-15)


def test_known_regularizers_up_to_a_constant() -> None:
    """``lambda dist(z, Q)`` and ``(lambda/2) dist^2(z, Q)`` on their maps' ranges, ``l |z|`` everywhere."""
    z = torch.linspace(-3, 3, 61, dtype=torch.float64)
    outside = z[z.abs() > 0.81]
    distance = (outside.abs() - 1).abs()
    for map_, lam, known in (
        (w_shaped(), 0.4, 0.4 * distance),
        (binary_relax(), 4.0, 2.0 * distance**2),
    ):
        shift = implicit_regularizer(map_, outside, lam) - known
        torch.testing.assert_close(shift, shift[:1].expand_as(shift))
    torch.testing.assert_close(implicit_regularizer(soft_threshold, z, 0.7), 0.7 * z.abs())


def test_a_pair_has_the_regularizer_of_its_forward() -> None:
    for name in ("bc", "hardtanh", "pc", "poly+"):
        pair = pc.method(name)
        assert torch.equal(implicit_regularizer(pair, Z, 2.0), implicit_regularizer(pair.forward, Z, 2.0))
