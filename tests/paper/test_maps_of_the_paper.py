"""The table of closed forms, and what the text says of single maps, as numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from proxconnect.quantizers import (
    ElementwiseMap,
    binary_relax,
    hard_tanh,
    linear_quantizer,
    monotone_sign_swish,
    parq,
    polynomial,
    projector,
    reste,
    sign,
    sign_swish,
    soft_threshold,
    tanh,
    w_shaped,
)

inf, log = math.inf, math.log
Form = Callable[[float, float], float]
ROOT = 1.1996786402577338  # of x tanh x = 1


def at(function: Callable[..., torch.Tensor] | None, x: float, mu: float) -> float:
    assert function is not None
    return function(torch.tensor([x], dtype=torch.float64), mu).item()


def xlogx(x: float) -> float:
    return x * log(x) if x > 0 else 0.0


def tanh_potential(z: float, t: float) -> float:
    k = max(1 / t, 1)
    y = z / k
    return k / (2 * t) * (xlogx(1 + y) + xlogx(1 - y)) if abs(y) <= 1 else inf


def log_cosh(u: float) -> float:
    return abs(u) + math.log1p(math.exp(-2 * abs(u))) - log(2)


def w_conjugate(w: float, lam: float) -> float:
    a = abs(w)
    if lam >= 1:
        return a if a <= 1 + lam else (a - lam) ** 2 / 2 + lam + 1 / 2
    if a <= 1 - lam:
        return lam * a + a**2 / 2
    return a - (1 - lam) ** 2 / 2 if a <= 1 + lam else (a - lam) ** 2 / 2 + 2 * lam - lam**2 / 2


def w_potential(z: float, lam: float) -> float:
    a = abs(z)
    if lam >= 1:
        return 0.0 if a <= 1 else (a**2 - 1) / 2 + lam * (a - 1)
    if a <= lam:
        return 0.0
    return (a - lam) ** 2 / 2 if a <= 1 else (1 - lam) ** 2 / 2 + (a**2 - 1) / 2 + lam * (a - 1)


def polynomial_conjugate(w: float, mu: float) -> float:
    a = abs(mu * w)
    return (w**2 * mu**2 - a**3 / 3 if a <= 1 else a - 1 / 3) / mu


SETS = ((-1.0, 1.0), (-1.0, 0.0, 1.0), (-2.5, -0.75, 0.25, 3.0))


def projector_conjugate(levels: tuple[float, ...]) -> Form:
    least = min(q * q for q in levels) / 2
    return lambda w, mu: max(q * w - q * q / 2 for q in levels) + least


def projector_potential(levels: tuple[float, ...]) -> Form:
    least = min(q * q for q in levels) / 2

    def interpolation(z: float, mu: float) -> float:
        for low, high in pairwise(levels):
            if low <= z <= high:
                return (low**2 + (high**2 - low**2) * (z - low) / (high - low)) / 2 - least
        return inf

    return interpolation


CLOSED_FORMS: list[tuple[ElementwiseMap, Form, Form]] = [
    (sign, lambda w, mu: abs(w), lambda z, mu: 0.0 if abs(z) <= 1 else inf),
    *((projector(q), projector_conjugate(q), projector_potential(q)) for q in SETS),
    (
        hard_tanh,
        lambda w, mu: mu * w**2 / 2 if abs(w) <= 1 / mu else abs(w) - 1 / (2 * mu),
        lambda z, mu: z**2 / (2 * mu) if abs(z) <= 1 else inf,
    ),
    *(
        (
            parq((-v, v)),
            lambda w, mu, v=v: mu * w**2 / 2 if abs(w) <= v / mu else v * abs(w) - v**2 / (2 * mu),
            lambda z, mu, v=v: z**2 / (2 * mu) if abs(z) <= v else inf,
        )
        for v in (1.0, 0.7)
    ),
    (tanh, lambda w, t: max(1 / t, 1) / t * log_cosh(t * w), tanh_potential),
    (
        polynomial,
        polynomial_conjugate,
        lambda z, mu: (abs(z) - 2 / 3 * (1 - (1 - abs(z)) ** 1.5)) / mu if abs(z) <= 1 else inf,
    ),
    (w_shaped(), w_conjugate, w_potential),
    (
        binary_relax(),
        lambda w, lam: (w**2 / 2 + lam * abs(w)) / (1 + lam),
        lambda z, lam: (1 + lam) / 2 * max(abs(z) - lam / (1 + lam), 0) ** 2,
    ),
    (
        soft_threshold,
        lambda w, lam: max(abs(w) - lam, 0) ** 2 / 2,
        lambda z, lam: z**2 / 2 + lam * abs(z),
    ),
]


@pytest.mark.parametrize(
    ("map_", "conjugate", "potential"), CLOSED_FORMS, ids=[map_.name for map_, *_ in CLOSED_FORMS]
)
@settings(max_examples=60, deadline=None)
@given(x=st.floats(-4, 4) | st.sampled_from([-1.0, 0.0, 1.0]), mu=st.floats(0.1, 20) | st.just(1.0))
def test_closed_forms(map_: ElementwiseMap, conjugate: Form, potential: Form, x: float, mu: float) -> None:
    assert at(map_.conjugate, x, mu) == pytest.approx(conjugate(x, mu), rel=1e-9, abs=1e-12)
    assert at(map_.potential, x, mu) == pytest.approx(potential(x, mu), rel=1e-9, abs=1e-12)


@given(share=st.floats(-1, 1), mu=st.floats(0.1, 20))
def test_closed_form_of_the_monotone_part_of_sign_swish(share: float, mu: float) -> None:
    w = share * 2 * ROOT / mu
    z = max(min(at(sign_swish, w, mu), ROOT), -ROOT)
    half = mu * w / 2
    potential = mu * w**2 / 2 / math.cosh(half) ** 2
    for map_, size in ((sign_swish, 1.0), (monotone_sign_swish, ROOT)):
        assert at(map_.conjugate, w, mu) == pytest.approx(w * math.tanh(half) / size, rel=1e-9, abs=1e-12)
        found = at(map_.potential, max(min(z / size, ROOT / size), -ROOT / size), mu)
        assert found == pytest.approx(potential / size, rel=1e-6, abs=1e-9)


@given(z=st.floats(-1, 1), rho=st.floats(0.1, 1.2), varrho=st.floats(0.05, 0.7))
def test_closed_form_of_the_linear_quantizer(z: float, rho: float, varrho: float) -> None:
    a, c = abs(z), 1 - varrho / 2
    expected = rho * z**2 / (4 * c)
    if a > c:
        expected = rho * c / 4 + rho / 2 * (a - c) + (1 - rho / 2) / varrho * (a - c) ** 2
    found = at(linear_quantizer(rho=rho, varrho=varrho).potential, z, 1.0)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_sign_swish_turns_where_the_paper_says() -> None:
    assert math.isclose(ROOT * math.tanh(ROOT), 1, rel_tol=1e-14)
    w = torch.linspace(0, 6, 600_001, dtype=torch.float64)
    value = sign_swish(w, 1.0)
    assert w[value.argmax()].item() == pytest.approx(2.39936, abs=1e-5)
    assert value.max().item() == pytest.approx(1.19968, abs=1e-5)
    assert value.max().item() == pytest.approx(ROOT, abs=1e-10)
    assert (sign_swish.slope(w, 1.0)[w > 2.3994] < 0).all()
    assert sign_swish(torch.tensor([1e3]), 1.0).item() == 1
    assert sign_swish.pieces(5.0)[1].end == pytest.approx(2.39936 / 5, abs=1e-5)


def test_monotone_sign_swish_is_the_rising_part_renormalised() -> None:
    w = torch.linspace(-3, 3, 6001, dtype=torch.float64)
    value, slope = monotone_sign_swish(w, 1.0), monotone_sign_swish.slope(w, 1.0)
    inside = w.abs() < 2.39935
    torch.testing.assert_close(value[inside], sign_swish(w, 1.0)[inside] / ROOT)
    torch.testing.assert_close(slope[inside], sign_swish.slope(w, 1.0)[inside] / ROOT)
    assert torch.equal(value[w.abs() > 2.39937], sign(w, 1.0)[w.abs() > 2.39937])
    assert (slope[w.abs() > 2.39937] == 0).all()
    assert (value.diff() >= 0).all()
    assert (slope >= 0).all()


def test_w_shaped_prox_is_not_idempotent() -> None:
    once = at(w_shaped(), 0.5, 0.25)
    assert at(w_shaped(), once, 0.25) != once


@given(w=st.floats(-3, 3), progress=st.floats(0, 1))
def test_ede_at_progress(w: float, progress: float) -> None:
    t = 10 ** (-1 + 2 * progress)
    assert at(tanh, w, t) == pytest.approx(max(1 / t, 1) * math.tanh(t * w), rel=1e-12)


@given(o=st.floats(1, 3))
def test_repaired_reste_is_the_plain_power_function_between_its_constants(o: float) -> None:
    m, t = 0.1, 1.5
    for a in (m, 0.3, 1.0, t):
        assert at(reste(), a, o) == pytest.approx(a ** (1 / o))
        assert at(reste(), -a, o) == pytest.approx(-(a ** (1 / o)))
    assert at(reste(), 9.0, o) == at(reste(), t, o)
    inner, outer = at(reste().slope, m, o), at(reste().slope, m + 1e-9, o)
    assert inner == pytest.approx(m ** (1 / o - 1))
    assert outer == pytest.approx(inner / o, rel=1e-6)
