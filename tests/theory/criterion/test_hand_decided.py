"""Pairs whose verdict was decided by hand, most of them variants of published straight-through estimators."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from proxconnect.quantizers import ForwardBackward
from proxconnect.theory import check, repair

Map = Callable[[Tensor], Tensor]
INF = math.inf


def sign(w: Tensor) -> Tensor:
    return torch.ones_like(w).where(w >= 0, -1)


def one(w: Tensor) -> Tensor:
    return torch.ones_like(w)


def identity(w: Tensor) -> Tensor:
    return w * 1


def inside(low: float, high: float) -> Map:
    return lambda w: ((w >= low) & (w <= high)).to(w)


def triangle(half: float, centre: float = 0.0) -> Map:
    return lambda w: (1 - (w - centre).abs() / half).clamp(min=0)


def stairs(count: int, low: float = -1.0, high: float = 1.0) -> Map:
    step = (high - low) / count
    return lambda w: ((w.clamp(low, high) - low) / step).round() * step + low


def ternary(threshold: float) -> Map:
    return lambda w: (w >= threshold).to(w) - (w <= -threshold).to(w)


def tanh_slope(w: Tensor) -> Tensor:
    return 1 - torch.tanh(w) ** 2


def fourier(w: Tensor) -> Tensor:
    return 4 / math.pi * sum(torch.cos((2 * i + 1) * w) for i in range(10))


def fourier_series(w: Tensor) -> Tensor:
    return 4 / math.pi * sum(torch.sin((2 * i + 1) * w) / (2 * i + 1) for i in range(10))


def at(dtype: torch.dtype, function: Map) -> Map:
    """Compute the function in a narrower type."""
    return lambda w: function(w.to(dtype)).to(w.dtype)


def bump(centre: float, width: float) -> Map:
    return lambda w: torch.exp(-(((w - centre) / width) ** 2))


@dataclass(frozen=True)
class Case:
    """A pair with its verdict by hand; ``reach`` is the exact interval to 1e-3, or None."""

    forward: Map
    backward: Map
    exact: bool
    reach: tuple[float, float] | None = None


ZERO = (0.0, 0.0)
CASES = {
    # Sign forward is flat on both sides of 0, so B has to be constant on each side.
    "sign, 1": Case(sign, one, True, (-INF, INF)),
    "sign, 2 above and 1 below": Case(sign, lambda w: 1 + (w >= 0).to(w), True, (-INF, INF)),
    "sign, clipped identity": Case(sign, inside(-1, 1), False, (-1, 1)),
    "sign, wide clipped identity": Case(sign, inside(-5000, 5000), False, (-5000, 5000)),
    "sign, triangle": Case(sign, triangle(1), False, ZERO),
    "sign, wide triangle": Case(sign, triangle(math.sqrt(2)), False, ZERO),
    "sign, arctan's slope": Case(sign, lambda w: 1 / (1 + w**2), False, ZERO),
    "sign, sigmoid's slope": Case(sign, lambda w: torch.sigmoid(w) * (1 - torch.sigmoid(w)), False, ZERO),
    "sign, tanh's slope": Case(sign, tanh_slope, False, ZERO),
    "sign, Gauss": Case(sign, bump(0, 1), False, ZERO),
    "sign, Fourier of order 10": Case(sign, fourier, False, ZERO),
    "sign, softsign's slope": Case(sign, lambda w: 1 / (1 + w.abs()) ** 2, False, ZERO),
    "sign, leaky clipped identity": Case(sign, lambda w: 0.1 + 0.9 * inside(-1, 1)(w), False, (-1, 1)),
    "sign, square root": Case(sign, lambda w: (1 - w.abs()).clamp(min=0).sqrt(), False, ZERO),
    "sign, dead on one side": Case(sign, lambda w: (w >= 0).to(w), True, (-INF, INF)),
    "sign, dip of B": Case(sign, lambda w: 1 - 0.1 * bump(0.3, 1e-4)(w), False),
    "sign, shifted threshold": Case(lambda w: sign(w - 0.3), one, True, (-INF, INF)),
    "sign, shifted, clipped identity": Case(lambda w: sign(w - 0.3), inside(-1, 1), False, (-1, 1)),
    "sign, shifted, triangle": Case(lambda w: sign(w - 0.3), triangle(1, 0.3), False),
    "sign, 0 at 0": Case(torch.sign, one, True, (-INF, INF)),
    "Heaviside, 1": Case(lambda w: (w >= 0).to(w), one, True, (-INF, INF)),
    # Stairs.
    "ternary, 1": Case(ternary(0.5), one, True, (-INF, INF)),
    "ternary, clipped identity": Case(ternary(0.5), inside(-1, 1), False, (-1, 1)),
    "ternary, 2 in the middle": Case(ternary(0.5), lambda w: 1 + (w.abs() < 0.5).to(w), True, (-INF, INF)),
    "ternary, triangle": Case(ternary(0.5), triangle(2), False, ZERO),
    "LSQ of 3 bits": Case(stairs(7), inside(-1, 1), False, (-1, 1)),
    "2 bits, 1": Case(stairs(3), one, True, (-INF, INF)),
    "256 stairs, 1": Case(stairs(256), one, True, (-INF, INF)),
    "256 stairs, triangle": Case(stairs(256), triangle(2), False),
    "PACT of 2 bits": Case(stairs(3, 0, 1), inside(0, 1), False),
    "stairs that never end": Case(torch.floor, one, True),
    "stairs with a step down": Case(lambda w: sign(w) - 2 * ((w > 2) & (w < 3)).to(w), one, False, (-INF, 2)),
    # Clipped lines.
    "clip, its slope": Case(lambda w: w.clamp(-1, 1), inside(-1, 1), True, (-INF, INF)),
    "clip, 1": Case(lambda w: w.clamp(-1, 1), one, True, (-INF, INF)),
    "clip, leaky": Case(lambda w: w.clamp(-1, 1), lambda w: 0.1 + 0.9 * inside(-1, 1)(w), False, (-1, 1)),
    "clip, arctan's slope": Case(lambda w: w.clamp(-1, 1), lambda w: 1 / (1 + w**2), False, (-1, 1)),
    "clip at 1.3, its slope": Case(lambda w: w.clamp(-1.3, 1.3), inside(-1.3, 1.3), True, (-INF, INF)),
    "relu, 1": Case(torch.relu, one, True, (-INF, INF)),
    "relu, its slope": Case(torch.relu, lambda w: (w > 0).to(w), True, (-INF, INF)),
    "relu, leaky slope": Case(torch.relu, lambda w: torch.where(w > 0, 1.0, 0.1).to(w), False, ZERO),
    "relu6, its slope": Case(lambda w: w.clamp(0, 6), inside(0, 6), True, (-INF, INF)),
    "leaky relu, its slope": Case(
        lambda w: w.where(w > 0, 0.1 * w), lambda w: torch.where(w > 0, 1.0, 0.1).to(w), True, (-INF, INF)
    ),
    "dead zone, its slope": Case(
        lambda w: torch.sign(w) * (w.abs() - 0.5).clamp(min=0), lambda w: (w.abs() > 0.5).to(w), True
    ),
    "dead zone, 1": Case(lambda w: torch.sign(w) * (w.abs() - 0.5).clamp(min=0), one, True, (-INF, INF)),
    "dead zone, varying": Case(
        lambda w: torch.sign(w) * (w.abs() - 0.5).clamp(min=0), lambda w: 1 + w**2, False, ZERO
    ),
    # Smooth pairs. The interval may end where F or B fades out in floats.
    "tanh, its slope": Case(torch.tanh, tanh_slope, True, (-INF, INF)),
    "tanh, 1": Case(torch.tanh, one, True, (-INF, INF)),
    "tanh, arctan's slope": Case(torch.tanh, lambda w: 1 / (1 + w**2), True),
    "tanh, dead beyond 30": Case(torch.tanh, inside(-30, 30), False),
    "tanh, sech^2": Case(torch.tanh, lambda w: 1 / torch.cosh(w) ** 2, True),
    "sigmoid, tanh's slope": Case(torch.sigmoid, tanh_slope, True),
    "sigmoid, sech^2": Case(torch.sigmoid, lambda w: 1 / torch.cosh(w) ** 2, True),
    "identity, sech^2": Case(identity, lambda w: 1 / torch.cosh(w) ** 2, True),
    "identity, Gauss": Case(identity, bump(0, 1), True),
    "arctan, its slope": Case(torch.atan, lambda w: 1 / (1 + w**2), True, (-INF, INF)),
    "softsign, its slope": Case(lambda w: w / (1 + w.abs()), lambda w: 1 / (1 + w.abs()) ** 2, True),
    "w / sqrt(1 + w^2), 1": Case(lambda w: w / (1 + w**2).sqrt(), one, True),
    "exp, its slope": Case(torch.exp, torch.exp, True),
    "softplus, sigmoid": Case(torch.nn.functional.softplus, torch.sigmoid, True),
    "swish": Case(torch.nn.functional.silu, one, False),
    "erf, its slope": Case(torch.erf, lambda w: 2 / math.sqrt(math.pi) * torch.exp(-(w**2)), True),
    # A flat of rounding alone before the last one.
    "two tanh, arctan's slope": Case(
        lambda w: (torch.tanh(w) + torch.tanh(5 * w)) / 2, lambda w: 1 / (1 + w**2), True
    ),
    "softsign, growing": Case(lambda w: w / (1 + w.abs()), lambda w: 1 + w.abs(), True),
    "Fourier series, its slope": Case(fourier_series, fourier, False, (-math.pi / 20, math.pi / 20)),
    # Zeros, kinks and signs of B.
    "identity, sqrt |w|": Case(identity, lambda w: w.abs().sqrt(), True, (-INF, INF)),
    "identity, |w|": Case(identity, lambda w: w.abs(), False, ZERO),
    "cube, its slope": Case(lambda w: w**3, lambda w: 3 * w**2, True),
    "identity, triangle": Case(identity, triangle(1), False, (-1, 1)),
    "identity, clipped": Case(identity, inside(-1, 1), False, (-1, 1)),
    "identity, kinks": Case(identity, lambda w: 1 + (w > 0.7).to(w) + (w > 2).to(w), True, (-INF, INF)),
    "identity, wavy": Case(identity, lambda w: 1 + 0.5 * torch.sin(50 * w), True),
    "identity, touching zeros": Case(identity, lambda w: 1 + torch.sin(w), False),
    "w + sin w, its slope": Case(lambda w: w + torch.sin(w), lambda w: 1 + torch.cos(w), True),
    "identity, B < 0 far out": Case(identity, lambda w: torch.where(w.abs() < 1500, 1.0, -1.0).to(w), False),
    "identity, B = 0 beyond 1e30": Case(identity, lambda w: (w < 1e30).to(w), False, (-INF, 1e30)),
    "identity, -1": Case(identity, lambda w: -one(w), False),
    "minus identity, -1": Case(lambda w: -w, lambda w: -one(w), False),
    "tanh, narrow negative lobe": Case(torch.tanh, lambda w: 1 - 2 * bump(0.7, 1e-5)(w), False),
    "identity, lobe far out": Case(identity, lambda w: 1 - 2 * bump(100, 1e-3)(w), False),
    "tanh with a narrow dip": Case(lambda w: torch.tanh(w) - 1e-3 * bump(0.50013, 1e-6)(w), one, False),
    "identity with a dip": Case(lambda w: w - 2.5e-3 * bump(0.3, 1e-3)(w), one, False),
    "B 0 at 0 alone": Case(identity, lambda w: (w != 0).to(w), False, ZERO),
    # Computed in narrower types.
    "tanh in float32": Case(at(torch.float32, torch.tanh), at(torch.float32, tanh_slope), True),
    "tanh in bfloat16": Case(at(torch.bfloat16, torch.tanh), at(torch.bfloat16, tanh_slope), True),
    "tanh in float16": Case(at(torch.float16, torch.tanh), at(torch.float16, tanh_slope), True),
    "tanh in float16, 1": Case(at(torch.float16, torch.tanh), one, True, (-INF, INF)),
    "arctan in float32": Case(
        at(torch.float32, torch.atan), at(torch.float32, lambda w: 1 / (1 + w**2)), True
    ),
    "sign, tanh's slope in float16": Case(sign, at(torch.float16, tanh_slope), False),
    "identity in float16, clipped": Case(at(torch.float16, identity), inside(-1, 1), False, (-1, 1)),
}


def pair_of(case: Case) -> ForwardBackward:
    return ForwardBackward(lambda w, mu: case.forward(w), lambda w, mu: case.backward(w), "by hand")


# Pairs much like others of the table, for the full run alone.
SIMILAR = {
    *("sign, wide clipped identity", "sign, wide triangle", "sign, sigmoid's slope", "sign, tanh's slope"),
    *("sign, Gauss", "sign, softsign's slope", "sign, leaky clipped identity", "sign, square root"),
    *("sign, shifted threshold", "Heaviside, 1", "ternary, clipped identity", "2 bits, 1"),
    *("256 stairs, triangle", "clip, arctan's slope", "clip at 1.3, its slope", "relu, 1"),
    *("relu6, its slope", "dead zone, 1", "tanh, 1", "tanh, arctan's slope", "sigmoid, sech^2"),
    *("softsign, its slope", "arctan, its slope", "exp, its slope", "erf, its slope", "identity, kinks"),
    *("identity, clipped", "identity, -1", "tanh in float16", "sign, tanh's slope in float16"),
}


def params(names: Iterable[str], full: Collection[str]) -> list[object]:
    return [pytest.param(name, marks=pytest.mark.full if name in full else ()) for name in names]


@pytest.mark.parametrize("name", params(CASES, SIMILAR))
def test_verdict_by_hand(name: str) -> None:
    case = CASES[name]
    verdict = check(pair_of(case))
    assert verdict.status == ("exact" if case.exact else "not exact"), str(verdict)
    if case.reach is not None:
        found = verdict.exact_interval
        assert found is not None
        assert (found.low, found.high) == pytest.approx(case.reach, rel=1e-3, abs=1e-3)
    if verdict.exact and verdict.exact_interval != verdict.domain:
        assert verdict.exact_interval == verdict.evidence.looked_at
        assert verdict.evidence.beyond


@pytest.mark.parametrize(
    "backward",
    [lambda w, mu: 1 / (1 + w**2), lambda w, mu: 1 + (w.abs() < 0.3).to(w)],
    ids=["varies", "kinks"],
)
def test_a_flat_of_rounding_around_zero_is_undetermined(backward: Callable[[Tensor, float], Tensor]) -> None:
    """``F`` is 0 between -0.68 and 0.68 in floats alone: there it is not known to be constant."""

    def three_levels(w: Tensor, mu: float) -> Tensor:
        return (torch.tanh(60 * (w - 1)) + torch.tanh(60 * (w + 1))) / 2

    verdict = check(ForwardBackward(three_levels, backward))
    assert verdict.status == "undetermined", str(verdict)
    (unknown,) = [condition for condition in verdict.conditions if condition.outcome == "unknown"]
    assert (unknown.number, unknown.reason) == (3, "F no longer changes in floats but B does")
    assert unknown.where is not None
    assert (unknown.where.low, unknown.where.high) == pytest.approx((-0.68, 0.68), abs=0.02)


def test_a_report_says_beyond_which_latent_it_is_undetermined() -> None:
    report = str(check(pair_of(CASES["two tanh, arctan's slope"])))
    first = report.split("\n")[0]
    assert "exact, as far as samples show on" in first
    assert "; undetermined beyond " in first
    tanh = str(check(pair_of(CASES["tanh, arctan's slope"])))
    end = re.search(r"; undetermined beyond \|w\| = ([0-9.]+)\n", tanh)  # tanh is 1 from there on, in floats
    assert end is not None
    assert float(end[1]) == pytest.approx(19.0615, abs=1e-3)
    assert "undetermined" not in str(check(pair_of(CASES["sign, 1"])))


def test_there_are_many() -> None:
    assert len(CASES) >= 60
    assert set(CASES) >= SIMILAR


# Three of them stand for the rest, which has its turn in the full run.
REPAIRABLE = [
    "sign, triangle",
    "sign, shifted, triangle",
    "PACT of 2 bits",
    "sign, wide triangle",
    "sign, clipped identity",
    "sign, Gauss",
    "ternary, triangle",
    "clip, leaky",
    "identity, triangle",
]


@pytest.mark.parametrize("name", params(REPAIRABLE, REPAIRABLE[3:]))
def test_a_repair_is_exact(name: str) -> None:
    pair = pair_of(CASES[name])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # most integrals do not end at the levels
        repaired = repair(pair)
    assert repaired is not pair
    verdict = check(repaired)
    assert verdict.exact, str(verdict)
    assert repair(repaired) is repaired
