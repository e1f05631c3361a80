"""Sample a pair out to the largest float, densely near 0 and around jumps and bends."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from proxconnect.errors import ProxConnectError
from proxconnect.theory._arrays import Array
from proxconnect.theory.interval import Interval
from proxconnect.theory.sampling._grid import CORE, RESOLUTION, coarse_grid, dense_grid, standing_out
from proxconnect.theory.sampling._refinement import Refinement, Tolerance
from proxconnect.theory.sampling.probe import Probe

_RELATIVE, _ABSOLUTE, _ROUNDINGS = 1e-5, 1e-7, 4
_FAR = 1e15
_SPACINGS = 2.5  # spacings: the width of a feature that surely holds two samples
_PROMPT = 0.65
_PLAIN, _FACTOR = 1e8, 30.0
_DROWNED, _FEW = 1e-3, 4


@dataclass(frozen=True)
class Samples:
    """The values of a pair at increasing latents, and its jumps.

    Args:
        w: the latents.
        forward: ``F`` there.
        backward: ``B`` there.
        jumps: gaps between neighbouring floats across which ``F`` or ``B`` jumps.
        unresolved: intervals on which the pair still bends at the limit of refinement.
        scales: the largest absolute values of ``F`` and ``B`` within ``8/mu`` of 0.
        count: the number of evaluated latents.
        resolution: the width of the narrowest feature that is surely found, as a share of
            ``max(|w|, 1/mu)``.
        reached: the part of the domain that was sampled.
        beyond: the reason why it ends there.
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
        """Keep the samples between two latents; nothing is known beyond them, for ``reason``."""
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
    """Sample both quantizers on ``domain``.

    Raises:
        ProxConnectError: a quantizer is infinite or NaN near 0, or is not elementwise.
    """
    w, reached, beyond = _where_finite((forward, backward), coarse_grid(mu, domain), domain)
    dense = dense_grid(mu, Interval(max(w[0], domain.low), min(w[-1], domain.high), True, True))
    # Scales come from the core alone: a value that grows far out must not hide features near 0.
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
    tolerance = Tolerance(
        np.maximum(_RELATIVE, _ROUNDINGS * epsilons),
        np.maximum(_ABSOLUTE, _ROUNDINGS * epsilons) * scales,
    )
    refined = Refinement(forward, backward, tolerance, max(1.0, 1 / mu))
    refined.run(w, values)
    samples = Samples(
        *refined.kept(),
        tuple(sorted(refined.jumps)),
        _merged(*refined.left),
        (float(scales[0]), float(scales[1])),
        len(dense) + len(w) + refined.count,
        _SPACINGS * (1 if mu == 1 else 2) * RESOLUTION,
        reached,
        beyond,
    )
    samples = samples.cut(refined.low, refined.high, "F or B changes faster than samples can follow")
    low, high = _overflow_inside(samples.jumps, min(forward.largest, backward.largest))
    samples = samples.cut(low, high, "a power of w overflows within F or B")
    epsilon = max(forward.epsilon, backward.epsilon)
    low, high = _drowning(samples.jumps, _DROWNED * float(scales.max()) / epsilon)
    return samples.cut(low, high, "F or B is lost in the rounding of w")


def _overflow_inside(jumps: tuple[tuple[float, float], ...], largest: float) -> tuple[float, float]:
    """Find the latents between which no small power of ``w`` overflows and makes the pair jump.

    For example ``w / sqrt(1 + w^2)`` falls from 1 to 0 at the square root of the largest float.
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
    """Find the latents between which a pair is free of the many jumps that ``(w + 1) - w`` makes far out."""
    below = [after for _, after in jumps if after < -far]
    above = [before for before, _ in jumps if before > far]
    return (
        max(below) if len(below) > _FEW else -math.inf,
        min(above) if len(above) > _FEW else math.inf,
    )


def _merged(a: Array, b: Array) -> tuple[tuple[float, float], ...]:
    """Join neighbouring cells."""
    if len(a) == 0:
        return ()
    order = np.argsort(a)
    a, b = a[order], np.maximum.accumulate(b[order])
    new = np.concatenate([[True], a[1:] > b[:-1] + 1e-2 * (1 + np.abs(a[1:]))])
    starts = np.flatnonzero(new)
    ends = np.concatenate([starts[1:] - 1, [len(a) - 1]])
    return tuple(zip(a[starts].tolist(), b[ends].tolist(), strict=True))


def _where_finite(probes: tuple[Probe, Probe], w: Array, domain: Interval) -> tuple[Array, Interval, str]:
    """Drop the far latents at which a quantizer leaves the range of its precision.

    Returns:
        The remaining latents, the remaining domain, and the reason for what was dropped.
    """
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
            probe(w)  # refuses a quantizer that is not finite near the centre
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
