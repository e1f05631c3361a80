"""Samples of a pair, refined by bisection until straight lines predict it or a jump is pinned down."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from proxconnect.errors import ProxConnectError
from proxconnect.theory._probe import Probe
from proxconnect.theory._shape import Array
from proxconnect.theory.verdict import Interval

_CORE = 8.0
_UNIFORM = 2**16
_NEAREST, _FARTHEST = 1e-9, 1e3
_PER_DECADE = 600
_GOLDEN = (math.sqrt(5) - 1) / 2
# Numbers this small are taken for 0: bisection towards 0 must end.
_TINY = 1e-300
_RELATIVE, _ABSOLUTE = 1e-5, 1e-7
_SMOOTH = 10.0
_KEPT_LEVELS = 10
_MOST_LEVELS = 120
_BUDGET = 1_000_000


@dataclass(frozen=True)
class Samples:
    """A pair at increasing latents, and what refinement found.

    ``jumps`` are gaps between neighbouring floats across which ``F`` or ``B`` jumps; ``unresolved`` are
    intervals that refinement gave up on; ``scales`` is how large ``F`` and ``B`` are where it matters.
    """

    w: Array
    forward: Array
    backward: Array
    jumps: tuple[tuple[float, float], ...]
    unresolved: tuple[tuple[float, float], ...]
    scales: tuple[float, float]
    count: int
    resolution: float


def sample(forward: Probe, backward: Probe, mu: float, domain: Interval) -> Samples:
    """Samples both quantizers on ``domain``."""
    w = _before_overflow(forward, backward, _grid(mu, domain))
    values = np.stack([forward(w), backward(w)])
    # Not farther out: what grows there must not drown what happens here.
    core = np.abs(w) <= _CORE / mu
    if not core.any():
        core = np.ones_like(core)
    scales = np.abs(values[:, core]).max(axis=1)
    scales = np.where(scales > 0, scales, 1.0)
    gaps = np.diff(w) / np.maximum(np.abs(w[1:]), min(1.0, 1 / mu))

    kept = [(w, values)]
    jumps: list[tuple[float, float]] = []
    a, b, at_a, at_b = w[:-1], w[1:], values[:, :-1], values[:, 1:]
    count = len(w)
    parent = np.zeros_like(at_a)
    for level in range(_MOST_LEVELS):
        middle = _middle(a, b)
        inner = (middle > a) & (middle < b)
        _collect(jumps, a[~inner], b[~inner], at_a[:, ~inner], at_b[:, ~inner], scales)
        a, b, at_a, at_b, middle = a[inner], b[inner], at_a[:, inner], at_b[:, inner], middle[inner]
        parent = parent[:, inner]
        if len(middle) == 0 or count > _BUDGET:
            break
        at_middle = np.stack([forward(middle), backward(middle)])
        count += len(middle)
        if level < _KEPT_LEVELS:
            kept.append((middle, at_middle))
        straight = at_a + (at_b - at_a) * ((middle - a) / (b - a))
        largest = np.maximum(np.abs(at_a), np.abs(at_b))
        # How far off a straight line is: a quarter as far in half the cell where the pair is smooth, as far
        # as before where it jumps.
        bend = np.abs(at_middle - straight) / _tolerance(largest, scales)
        smooth = (bend <= np.maximum(parent / 3, 1.0)) & (bend <= _SMOOTH)
        bent = ~smooth.all(axis=0)
        parent = np.concatenate([bend[:, bent], bend[:, bent]], axis=1)
        a, b = np.concatenate([a[bent], middle[bent]]), np.concatenate([middle[bent], b[bent]])
        at_a, at_b = (
            np.concatenate([at_a[:, bent], at_middle[:, bent]], axis=1),
            np.concatenate([at_middle[:, bent], at_b[:, bent]], axis=1),
        )
    all_w = np.concatenate([points for points, _ in kept])
    all_values = np.concatenate([found for _, found in kept], axis=1)
    order = np.argsort(all_w)
    return Samples(
        all_w[order],
        all_values[0, order],
        all_values[1, order],
        tuple(sorted(jumps)),
        _merged(a, b),
        (float(scales[0]), float(scales[1])),
        count,
        float(gaps.max() / 2),
    )


def _tolerance(largest: Array, scales: Array) -> Array:
    return _RELATIVE * largest + _ABSOLUTE * scales[:, None]


def _collect(
    jumps: list[tuple[float, float]], a: Array, b: Array, at_a: Array, at_b: Array, scales: Array
) -> None:
    largest = np.maximum(np.abs(at_a), np.abs(at_b))
    jumping = (np.abs(at_b - at_a) > _tolerance(largest, scales)).any(axis=0)
    jumps += zip(a[jumping].tolist(), b[jumping].tolist(), strict=True)


def _middle(a: Array, b: Array) -> Array:
    """Arithmetic middle, geometric where the ends differ in magnitude; an end where nothing lies between."""
    middle = a + (b - a) / 2
    size_a, size_b = np.maximum(np.abs(a), _TINY), np.maximum(np.abs(b), _TINY)
    wide = (np.maximum(size_a, size_b) > 4 * np.minimum(size_a, size_b)) & (np.sign(a) * np.sign(b) >= 0)
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


def _grid(mu: float, domain: Interval) -> Array:
    """Uniform on the scales 1 and ``1/mu``, geometric towards 0, infinity and the ends of the domain."""
    scales = {1.0, 1 / mu}
    decades = math.log10(_FARTHEST / _NEAREST)
    size = np.geomspace(_NEAREST * min(scales), _FARTHEST * max(scales), int(_PER_DECADE * decades))
    parts = [np.array([0.0]), size, -size]
    for scale in scales:
        parts += [_uniform(-_CORE * scale, _CORE * scale), np.array([-scale, scale])]
    if math.isfinite(domain.low) and math.isfinite(domain.high):
        parts.append(_uniform(domain.low, domain.high))
    for end, inward in ((domain.low, 1), (domain.high, -1)):
        if math.isfinite(end):
            parts += [np.array([end]), end + inward * size]
    w = np.unique(np.concatenate(parts))
    return w[(w >= domain.low) & (w <= domain.high)]


def _uniform(low: float, high: float) -> Array:
    """Evenly spread points, moved aside a little so that no period can hide between them."""
    index = np.arange(_UNIFORM)
    inside: Array = low + (high - low) * (index + (index * _GOLDEN) % 1.0) / _UNIFORM
    return inside


def _before_overflow(forward: Probe, backward: Probe, w: Array) -> Array:
    """``w`` without the far latents at which a growing quantizer leaves the range of float64."""
    for probe in (forward, backward):
        values = probe.unguarded(w)
        infinite = np.isinf(values)
        if not infinite.any() or np.isnan(values).any():
            continue
        finite = np.flatnonzero(~infinite)
        if len(finite) == 0 or infinite[finite[0] : finite[-1]].any():
            continue
        for edge, cut in ((finite[0], infinite[0]), (finite[-1], infinite[-1])):
            if cut and abs(values[edge]) < 1e200:
                raise ProxConnectError(
                    f"{probe.role} is infinite beyond w = {w[edge]:.6g}, where it is {values[edge]:.6g}; "
                    "expected finite values on the whole domain"
                )
        w = w[finite[0] : finite[-1] + 1]
    return w
