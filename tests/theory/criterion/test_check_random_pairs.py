"""Pairs of known verdict, found numerically: built from a known T and P, then changed in a known way."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from proxconnect.quantizers import ForwardBackward
from proxconnect.theory import check

Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Polyline:
    """A nondecreasing P of linear pieces with upward jumps between them; at a jump it has the upper value."""

    starts: tuple[float, ...]
    slopes: tuple[float, ...]
    values: tuple[float, ...]

    def __call__(self, w: Tensor) -> Tensor:
        starts, slopes, values = (
            torch.tensor(x, dtype=w.dtype) for x in (self.starts, self.slopes, self.values)
        )
        k = (torch.searchsorted(starts, w, right=True) - 1).clamp(min=0)
        return values[k] + slopes[k] * (w - starts[k])

    def bounds(self, k: int) -> tuple[float, float]:
        end = self.starts[k + 1] if k + 1 < len(self.starts) else self.starts[k] + 1
        return self.starts[k], end

    def jumps(self) -> list[float]:
        found = []
        for k in range(1, len(self.starts)):
            reached = self.values[k - 1] + self.slopes[k - 1] * (self.starts[k] - self.starts[k - 1])
            if self.values[k] > reached + 1e-3:
                found.append(self.starts[k])
        return found


TRANSFORMS: dict[str, tuple[Function, Function]] = {
    "identity": (lambda u: u, torch.ones_like),
    "tanh": (lambda u: torch.tanh(u / 4), lambda u: (1 - torch.tanh(u / 4) ** 2) / 4),
    "wavy": (lambda u: u + 0.5 * torch.sin(u), lambda u: 1 + 0.5 * torch.cos(u)),
    "cube": (lambda u: u**3, lambda u: 3 * u**2),
    "steep": (lambda u: u + torch.tanh(20 * u), lambda u: 1 + 20 * (1 - torch.tanh(20 * u) ** 2)),
    "dead zone": (
        lambda u: torch.sign(u) * (u.abs() - 0.5).clamp(min=0) ** 2,
        lambda u: 2 * (u.abs() - 0.5).clamp(min=0),
    ),
}


@st.composite
def polylines(draw: st.DrawFn) -> Polyline:
    count = draw(st.integers(2, 6))
    place, value = draw(st.floats(-3, -1)), draw(st.floats(-2, 0))
    starts, slopes, values = [], [], []
    for _ in range(count):
        slope = draw(st.sampled_from([0.0, 0.0, 0.3, 1.0, 4.0]))
        starts.append(place)
        slopes.append(slope)
        values.append(value)
        width = draw(st.floats(0.3, 1.5))
        place += width
        value += slope * width + draw(st.sampled_from([0.0, 0.0, 0.2, 1.0]))
    if draw(st.booleans()):  # floats are densest around 0, so a piece that starts there shows F's rounding
        shift = draw(st.sampled_from(starts))
        starts = [start - shift for start in starts]
    return Polyline(tuple(starts), tuple(slopes), tuple(values))


@dataclass(frozen=True)
class Case:
    forward: Function
    backward: Function
    exact: bool
    what: str


def bump(w: Tensor, centre: float, width: float) -> Tensor:
    return torch.exp(-(((w - centre) / width) ** 2))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    prox = draw(polylines())
    name = draw(st.sampled_from(sorted(TRANSFORMS)))
    transform, slope = TRANSFORMS[name]

    def forward(w: Tensor) -> Tensor:
        return transform(prox(w))

    def backward(w: Tensor) -> Tensor:
        return slope(prox(w))

    pieces = range(len(prox.starts))
    middle = [torch.tensor([sum(prox.bounds(k)) / 2], dtype=torch.float64) for k in pieces]
    alive = [float(backward(m)) > 0.02 for m in middle]
    flats = [k for k in pieces if prox.slopes[k] == 0 and alive[k]]
    rises = [k for k in pieces if prox.slopes[k] > 0 and alive[k]]
    kinds = ["none", "affine", "factor of P", "F falls"]
    kinds += ["B varies on a flat", "B steps on a flat"] if flats else []
    kinds += ["B zero where F grows", "B negative", "B steps where F grows"] if rises else []
    jumps = [at for at in prox.jumps() if float(forward(torch.tensor([at - 1e-6, at])).diff()) > 1e-3]
    kinds += ["B changes side at a jump", "B off at a jump"] if jumps else []
    kind = draw(st.sampled_from(kinds))
    what = f"{kind}, T {name}, P {prox}"
    if kind == "affine":
        a, b = draw(st.floats(0.01, 100)), draw(st.floats(-10, 10))
        return Case(lambda w: a * forward(w) + b, lambda w: a * backward(w), True, what)
    if kind == "factor of P":
        return Case(forward, lambda w: backward(w) * (1.5 + torch.sin(prox(w))), True, what)
    if kind == "F falls":
        at = torch.tensor([draw(st.floats(-3, 3))], dtype=torch.float64)
        depth = 0.05 + 2 * float(forward(at + 0.1) - forward(at - 0.1))
        return Case(lambda w: forward(w) - depth * bump(w, float(at), 0.02), backward, False, what)
    if kind.startswith("B varies"):
        start, end = prox.bounds(draw(st.sampled_from(flats)))
        centre, width = (start + end) / 2, draw(st.sampled_from([0.002, 0.02, 0.1]))
        return Case(forward, lambda w: backward(w) * (1 + 0.3 * bump(w, centre, width)), False, what)
    if kind == "B steps on a flat":
        start, end = prox.bounds(draw(st.sampled_from(flats)))
        return Case(forward, lambda w: backward(w) * (1 + (w > (start + end) / 2)), False, what)
    if kind in ("B zero where F grows", "B negative"):
        start, end = prox.bounds(draw(st.sampled_from(rises)))
        low, high = start + (end - start) / 3, end - (end - start) / 3
        to = 0.0 if kind == "B zero where F grows" else -0.5
        return Case(forward, lambda w: backward(w).where((w < low) | (w > high), to), False, what)
    if kind == "B steps where F grows":
        start, end = prox.bounds(draw(st.sampled_from(rises)))
        low, high = start + (end - start) / 3, end - (end - start) / 3
        return Case(forward, lambda w: backward(w) * (1 + ((w >= low) & (w <= high))), True, what)
    if kind == "B changes side at a jump":
        at = draw(st.sampled_from(jumps))
        return Case(forward, lambda w: backward(w) * (1 + (w >= at)), True, what)
    if kind == "B off at a jump":
        at = draw(st.sampled_from(jumps))
        return Case(forward, lambda w: backward(w) + 1.0 * (w == at), False, what)
    return Case(forward, backward, True, what)


def agrees(case: Case, mu: float) -> None:
    def forward(w: Tensor, mu: float) -> Tensor:
        return case.forward(mu * w)

    def backward(w: Tensor, mu: float) -> Tensor:
        return mu * case.backward(mu * w)

    # Farther out a wavy pair has more waves than samples can follow.
    reach = math.inf if mu <= 1 else 1e3 / mu
    verdict = check(ForwardBackward(forward, backward, "drawn"), mu, domain=(-reach, reach))
    assert verdict.status == ("exact" if case.exact else "not exact"), f"{case.what}\n{verdict}"
    assert verdict.evidence.kind == "numeric"
    interval = verdict.exact_interval
    if interval is None or interval.low == interval.high:
        return
    low, high = max(interval.low, -6 / mu), min(interval.high, 6 / mu)
    # No round numbers: within a rounding error of a kink, P(w) is the same on both sides.
    w = torch.linspace(low, high, 402, dtype=torch.float64)[:-1] + (high - low) / 401 / math.e
    assert verdict.P is not None
    assert verdict.T is not None
    u = verdict.P(w)
    assert float(u.diff().min()) >= -1e-12, case.what
    scale = 1 + float(forward(w, mu).abs().max())
    torch.testing.assert_close(verdict.T(u), forward(w, mu), rtol=0, atol=1e-6 * scale, msg=case.what)
    slope_error = (verdict.T.slope(u) - backward(w, mu)).abs()
    assert float(slope_error.max()) <= 1e-6 * (1 + float(backward(w, mu).abs().max())), case.what


relaxed = {"deadline": None, "suppress_health_check": list(HealthCheck)}


# Powers of two scale latents without rounding, so that events at a single latent stay there.
sharpness = st.sampled_from([1.0, 1.0, 0.125, 16.0])


@given(cases(), sharpness)
@settings(max_examples=6, **relaxed)
def test_drawn_pairs_get_their_verdict(case: Case, mu: float) -> None:
    agrees(case, mu)


@pytest.mark.full
@given(cases(), sharpness)
@settings(max_examples=1000, **relaxed)
def test_a_thousand_drawn_pairs_get_their_verdict(case: Case, mu: float) -> None:
    agrees(case, mu)
