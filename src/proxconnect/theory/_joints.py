"""Jumps between neighbouring floats, as points with a latent on either side."""

from __future__ import annotations

import math

import numpy as np

from proxconnect.theory._probe import Probe
from proxconnect.theory._sampling import Samples
from proxconnect.theory._shape import Array
from proxconnect.theory.verdict import Interval

# The last latent before, the point itself, the first latent after.
Joint = tuple[float, float, float]

_MANY_DIGITS = 14
_RELATIVE, _ABSOLUTE = 1e-6, 1e-6
_STEEP = 1.3


def joints(forward: Probe, backward: Probe, samples: Samples, domain: Interval) -> list[Joint]:
    """Where a pair jumps, between the ends of the domain."""
    found = [joint for joint in _clusters(samples.jumps) if _jumps(forward, backward, samples.scales, joint)]
    return _with_outer_ends(found, domain)


def _jumps(forward: Probe, backward: Probe, scales: tuple[float, float], joint: Joint) -> bool:
    """Whether there is a jump, and not a power like ``|w|^(1/4)`` that floats are too coarse for."""
    before, at, after = joint
    for function, scale in zip((forward, backward), scales, strict=True):
        here = float(function(np.array([at]))[0])
        values = np.array([_limit(function, at, before), here, _limit(function, at, after)])
        if np.ptp(values) > _RELATIVE * float(np.abs(values).max()) + _ABSOLUTE * scale:
            return True
    return False


def is_unbounded(function: Probe, at: float, beside: float) -> bool:
    """Whether values grow like a negative power of the distance as ``at`` is approached from one side."""
    if math.isinf(at):
        return False
    near, middle, far = np.abs(_approach(function, at, beside)).tolist()
    return bool(near > _STEEP * middle > _STEEP**2 * far)


def _approach(function: Probe, at: float, beside: float) -> Array:
    """Values at three latents at geometric distances, the nearest first."""
    return function(at + (beside - at) * np.array([1.0, 16.0, 256.0]))


def _limit(function: Probe, at: float, beside: float) -> float:
    """Limit at ``at`` from one side; values that still move there do so as a power of the distance."""
    near, middle, far = _approach(function, at, beside).tolist()
    if not 0 < abs(near - middle) < abs(middle - far):
        return float(near)
    return float(near - (near - middle) ** 2 / (near - 2 * middle + far))


def _with_outer_ends(joints: list[Joint], domain: Interval) -> list[Joint]:
    """The joints between the ends of the domain; a jump at an end itself only moves the limit there."""
    low, high = _around(domain.low), _around(domain.high)
    while joints and joints[0][1] <= low[2]:
        low = (low[0], low[1], joints.pop(0)[2])
    while joints and joints[-1][1] >= high[0]:
        high = (joints.pop()[0], high[1], high[2])
    return [low, *joints, high]


def _around(at: float) -> Joint:
    if math.isinf(at):
        return at, at, at
    return float(np.nextafter(at, -math.inf)), at, float(np.nextafter(at, math.inf))


def _clusters(jumps: tuple[tuple[float, float], ...]) -> list[Joint]:
    """Jumps a few floats apart as one: (last latent before, the point itself, first latent after).

    The point itself is the float of the cluster that is written with few digits: a quantizer written with
    ``w >= 0.3`` jumps at 0.3, from whichever side. Where none is, rounding has moved the jump by a float or
    two, and the nearest to 0 is as good as any.
    """
    clusters: list[list[float]] = []
    for low, high in jumps:
        if clusters and low - clusters[-1][-1] <= 4 * np.spacing(abs(low)):
            clusters[-1] += [low, high]
        else:
            clusters.append([low, high])
    joints = []
    for floats in clusters:
        # Of neighbouring jumps the float between them is the point: it has values of its own.
        candidates = floats[1:-1] or floats
        at = min(candidates, key=lambda w: (min(len(repr(abs(w))), _MANY_DIGITS), abs(w)))
        below, _, above = _around(at)
        joints.append((min(floats[0], below), at, max(floats[-1], above)))
    return joints
