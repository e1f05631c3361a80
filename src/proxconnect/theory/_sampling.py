"""Samples of a pair, refined by bisection until straight lines predict it or a jump is pinned down."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from proxconnect.errors import ProxConnectError
from proxconnect.theory._grid import CORE, RESOLUTION, coarse_grid, dense_grid, standing_out
from proxconnect.theory._probe import Probe
from proxconnect.theory._shape import Array, Flags
from proxconnect.theory.verdict import Interval

# Numbers this small are taken for 0: bisection towards 0 must end.
_TINY = 1e-300
_RELATIVE, _ABSOLUTE, _ROUNDINGS = 1e-5, 1e-7, 4
_SMOOTH = 100.0
_KEPT_LEVELS = 10
_MOST_LEVELS = 120
_BUDGET = 300_000
# Cells of one width, more than 1/mu from 0, that are halved again: after twelve halvings only jumps are left.
_FAR_CELLS, _FAR_JUMPS, _HALVINGS = 60_000, 2_000, 12
_FAR = 1e15
_SEEN = 2.5  # a feature holds two samples if it is so many spacings wide
_PROMPT = 0.65
_PLAIN, _FACTOR = 1e8, 30.0
_DROWNED, _FEW = 1e-3, 4
_WIDE, _WIDE_BEND = 1e3, 10.0


@dataclass(frozen=True)
class Samples:
    """A pair at increasing latents, and what refinement found.

    ``jumps`` are gaps between neighbouring floats across which ``F`` or ``B`` jumps; ``unresolved`` are
    intervals that refinement gave up on; ``scales`` is how large ``F`` and ``B`` are where it matters.
    ``reached`` is the part of the domain that was looked at; ``beyond`` says what lies beyond its ends.
    """

    w: Array
    forward: Array
    backward: Array
    jumps: tuple[tuple[float, float], ...]
    unresolved: tuple[tuple[float, float], ...]
    scales: tuple[float, float]
    count: int
    resolution: float
    reached: Interval
    beyond: str = ""

    def cut(self, low: float, high: float, reason: str) -> Samples:
        """The samples between two latents; beyond them nothing is known, for ``reason``."""
        reached = self.reached
        if low > reached.low:
            reached = Interval(low, reached.high, False, reached.high_closed)
        if high < reached.high:
            reached = Interval(reached.low, high, reached.low_closed, False)
        if reached == self.reached:
            return self
        inside = (self.w >= reached.low) & (self.w <= reached.high)
        return Samples(
            self.w[inside],
            self.forward[inside],
            self.backward[inside],
            tuple(jump for jump in self.jumps if reached.low < jump[0] and jump[1] < reached.high),
            tuple(u for u in self.unresolved if u[1] > reached.low and u[0] < reached.high),
            self.scales,
            self.count,
            self.resolution,
            reached,
            "; ".join(filter(None, [self.beyond, reason])),
        )


def sample(forward: Probe, backward: Probe, mu: float, domain: Interval) -> Samples:
    """Samples both quantizers on ``domain``."""
    w, reached, beyond = _where_finite((forward, backward), coarse_grid(mu, domain), domain)
    dense = dense_grid(mu, Interval(max(w[0], domain.low), min(w[-1], domain.high), True, True))
    # Not farther out: what grows there must not drown what happens here.
    core = dense[slice(*np.searchsorted(dense, (-CORE / mu, np.nextafter(CORE / mu, math.inf))))]
    core = core[:: max(1, len(core) // 100_000)] if len(core) else w
    scales = np.stack([np.abs(probe(core)).max() for probe in (forward, backward)])
    scales = np.where(scales > 0, scales, 1.0)
    epsilons = np.array([forward.epsilon, backward.epsilon])
    if len(dense) > 1:
        w = np.union1d(w, standing_out(dense, (forward(dense), backward(dense)), scales, epsilons))
    values = np.stack([forward(w), backward(w)])
    for probe, row in zip((forward, backward), values, strict=True):
        probe.revisit(w, row)
    tolerance = _Tolerance(
        np.maximum(_RELATIVE, _ROUNDINGS * epsilons),
        np.maximum(_ABSOLUTE, _ROUNDINGS * epsilons) * scales,
    )
    refined = _Refinement(forward, backward, tolerance, max(1.0, 1 / mu))
    refined.run(w, values)
    samples = Samples(
        *refined.kept(),
        tuple(sorted(refined.jumps)),
        _merged(*refined.left),
        (float(scales[0]), float(scales[1])),
        len(dense) + len(w) + refined.count,
        _SEEN * (1 if mu == 1 else 2) * RESOLUTION,
        reached,
        beyond,
    )
    samples = samples.cut(refined.low, refined.high, "F or B changes faster than samples can follow")
    low, high = _overflow_inside(samples.jumps, min(forward.largest, backward.largest))
    samples = samples.cut(low, high, "a power of w overflows within F or B")
    epsilon = max(forward.epsilon, backward.epsilon)
    low, high = _drowning(samples.jumps, _DROWNED * float(scales.max()) / epsilon)
    return samples.cut(low, high, "F or B is lost in the rounding of w")


@dataclass(frozen=True)
class _Tolerance:
    """How far values may be off before they mean something."""

    relative: Array
    absolute: Array

    def __call__(self, largest: Array) -> Array:
        return self.relative[:, None] * largest + self.absolute[:, None]


class _Refinement:
    """Bisection of cells in which a function is no straight line, nearest to 0 first."""

    def __init__(self, forward: Probe, backward: Probe, tolerance: _Tolerance, core: float) -> None:
        self.forward, self.backward, self.tolerance, self.core = forward, backward, tolerance, core
        self.found: list[tuple[Array, Array]] = []
        self.jumps: list[tuple[float, float]] = []
        self.count = 0
        self.low, self.high = -math.inf, math.inf
        self.left: tuple[Array, Array] = (np.empty(0), np.empty(0))

    def run(self, w: Array, values: Array) -> None:
        self.found.append((w, values))
        a, b, at_a, at_b = w[:-1], w[1:], values[:, :-1], values[:, 1:]
        # Far out, where cells are wide, a power of w bends by more than it does where they are narrow.
        parent = np.where(np.abs(a) > _WIDE * self.core, 3 * _WIDE_BEND, np.zeros_like(at_a))
        near = 0
        for level in range(_MOST_LEVELS):
            middle = _middle(a, b)
            inner = (middle > a) & (middle < b)
            self._collect(a[~inner], b[~inner], at_a[:, ~inner], at_b[:, ~inner])
            if level:
                inner &= self._affordable(a, b, _FAR_CELLS if level <= _HALVINGS else _FAR_JUMPS)
            a, b, at_a, at_b, middle = a[inner], b[inner], at_a[:, inner], at_b[:, inner], middle[inner]
            parent = parent[:, inner]
            if len(middle) == 0 or near > _BUDGET:
                break
            at_middle = np.stack([self.forward(middle), self.backward(middle)])
            self.count += len(middle)
            near += int((np.abs(middle) <= self.core).sum()) if level else 0
            if level < _KEPT_LEVELS:
                self.found.append((middle, at_middle))
            with np.errstate(over="ignore", invalid="ignore"):
                straight = at_a + (at_b - at_a) * ((middle - a) / (b - a))
                # How far off a straight line is: a quarter as far in half the cell where the pair is smooth,
                # as far as before where it jumps.
                largest = np.maximum(np.abs(at_a), np.abs(at_b))
                bend = np.abs(at_middle - straight) / self.tolerance(largest)
            smooth = (bend <= np.maximum(parent / 3, 1.0)) & (bend <= _SMOOTH)
            bent = ~smooth.all(axis=0)
            parent = np.concatenate([bend[:, bent], bend[:, bent]], axis=1)
            a, b = np.concatenate([a[bent], middle[bent]]), np.concatenate([middle[bent], b[bent]])
            at_a, at_b = (
                np.concatenate([at_a[:, bent], at_middle[:, bent]], axis=1),
                np.concatenate([at_middle[:, bent], at_b[:, bent]], axis=1),
            )
        # Far from 0 what is left ends the search; near 0 it is reported as a place that cannot be resolved.
        far = np.minimum(np.abs(a), np.abs(b)) > self.core
        self._give_up(a[far], b[far])
        self.left = a[~far], b[~far]

    def kept(self) -> tuple[Array, Array, Array]:
        """The latents that are kept, in order, with both functions there."""
        w = np.concatenate([points for points, _ in self.found])
        values = np.concatenate([found for _, found in self.found], axis=1)
        order = np.argsort(w, kind="stable")
        return w[order], values[0, order], values[1, order]

    def _affordable(self, a: Array, b: Array, most: int) -> Flags:
        """Cells to go on with; where there are too many, the farthest are given up with all beyond them."""
        inside = (a >= self.low) & (b <= self.high)
        distance = np.minimum(np.abs(a), np.abs(b))
        candidates = np.flatnonzero(inside & (distance > self.core))
        order = candidates[np.argsort(distance[candidates], kind="stable")]
        given_up = order[most:]
        self._give_up(a[given_up], b[given_up])
        return (a >= self.low) & (b <= self.high)

    def _give_up(self, a: Array, b: Array) -> None:
        self.high = min([self.high, *a[a > 0].tolist()])
        self.low = max([self.low, *b[b < 0].tolist()])

    def _collect(self, a: Array, b: Array, at_a: Array, at_b: Array) -> None:
        largest = np.maximum(np.abs(at_a), np.abs(at_b))
        jumping = (np.abs(at_b - at_a) > self.tolerance(largest)).any(axis=0)
        self.jumps += zip(a[jumping].tolist(), b[jumping].tolist(), strict=True)


def _overflow_inside(jumps: tuple[tuple[float, float], ...], largest: float) -> tuple[float, float]:
    """Between which latents no small power of ``w`` overflows and makes the pair jump.

    ``w / sqrt(1 + w^2)`` falls from 1 to 0 at the square root of the largest float.
    """
    low, high = -math.inf, math.inf
    for power in (2, 3, 4):
        overflow = largest ** (1 / power)
        if overflow < _PLAIN:
            continue
        for before, after in jumps:
            if 1 / _FACTOR < abs(after) / overflow < _FACTOR:
                low, high = (low, min(high, before)) if after > 0 else (max(low, after), high)
    return low, high


def _drowning(jumps: tuple[tuple[float, float], ...], far: float) -> tuple[float, float]:
    """Between which latents a pair is free of the many jumps that ``(w + 1) - w`` makes far out."""
    below = [after for _, after in jumps if after < -far]
    above = [before for before, _ in jumps if before > far]
    return (
        max(below) if len(below) > _FEW else -math.inf,
        min(above) if len(above) > _FEW else math.inf,
    )


def _middle(a: Array, b: Array) -> Array:
    """Arithmetic middle, geometric where the ends differ in magnitude; an end where nothing lies between."""
    middle = a / 2 + b / 2
    size_a, size_b = np.maximum(np.abs(a), _TINY), np.maximum(np.abs(b), _TINY)
    wide = (np.maximum(size_a, size_b) / 4 > np.minimum(size_a, size_b)) & (np.sign(a) * np.sign(b) >= 0)
    geometric = np.sqrt(size_a) * np.sqrt(size_b)
    nothing = np.maximum(size_a, size_b) <= 4 * _TINY
    return np.where(nothing, a, np.where(wide, np.where(b > 0, geometric, -geometric), middle))


def _merged(a: Array, b: Array) -> tuple[tuple[float, float], ...]:
    if len(a) == 0:
        return ()
    order = np.argsort(a)
    a, b = a[order], np.maximum.accumulate(b[order])
    new = np.concatenate([[True], a[1:] > b[:-1] + 1e-2 * (1 + np.abs(a[1:]))])
    starts = np.flatnonzero(new)
    ends = np.concatenate([starts[1:] - 1, [len(a) - 1]])
    return tuple(zip(a[starts].tolist(), b[ends].tolist(), strict=True))


def _where_finite(probes: tuple[Probe, Probe], w: Array, domain: Interval) -> tuple[Array, Interval, str]:
    """``w`` and the domain without the far latents at which a quantizer leaves the range of its precision."""
    low, high, reason = domain.low, domain.high, ""
    for probe in probes:
        values = probe.unguarded(w)
        finite = np.isfinite(values)
        if finite.all():
            continue
        centre = int(np.argmin(np.abs(w - min(max(0.0, w[0]), w[-1]))))
        before = np.flatnonzero(~finite[: centre + 1])
        after = np.flatnonzero(~finite[centre:])
        first = before[-1] + 1 if len(before) else 0
        last = centre + after[0] - 1 if len(after) else len(w) - 1
        if first > centre or last < centre:
            probe(w)  # not finite near the centre: refuses it
        for edge, outside in ((first, first - 1), (last, last + 1)):
            if not 0 <= outside < len(w):
                continue
            if abs(values[edge]) < probe.largest**_PROMPT and abs(w[outside]) < _FAR:
                if math.isinf(values[outside]):
                    raise ProxConnectError(
                        f"{probe.role} is infinite beyond w = {w[edge]:.6g}, where it is {values[edge]:.6g}; "
                        "expected finite values on the whole domain"
                    )
                probe(w)
            reason = f"{probe.role} overflows"
            if outside < edge:
                low = max(low, float(w[edge]))
            else:
                high = min(high, float(w[edge]))
        w = w[first : last + 1]
    reached = Interval(
        low, high, domain.low_closed and low == domain.low, domain.high_closed and high == domain.high
    )
    return w, reached, reason
