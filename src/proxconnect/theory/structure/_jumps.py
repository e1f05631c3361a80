"""Find the jumps of a sampled pair, and the latents on either side of each."""

from __future__ import annotations

import math

import numpy as np

from proxconnect.theory._arrays import Array
from proxconnect.theory.interval import Interval
from proxconnect.theory.sampling.probe import Probe
from proxconnect.theory.sampling.samples import Samples

# A jump or an end of the domain: the last latent before it, the point itself, the first latent after it.
Joint = tuple[float, float, float]

_MANY_DIGITS = 14
_RELATIVE, _ABSOLUTE = 1e-6, 1e-6
_STEEP = 1.3


def joints(forward: Probe, backward: Probe, samples: Samples, domain: Interval) -> list[Joint]:
    """Find the jumps of a pair, with the ends of the domain around them."""
    found = [joint for joint in _clusters(samples.jumps) if _jumps(forward, backward, samples.scales, joint)]
    return _with_outer_ends(found, domain)


def _jumps(forward: Probe, backward: Probe, scales: tuple[float, float], joint: Joint) -> bool:
    """Tell a jump from a power such as ``|w|^(1/4)``, for which floats are too coarse."""
    before, at, after = joint
    for function, scale in zip((forward, backward), scales, strict=True):
        here = float(function(np.array([at]))[0])
        values = np.array([_limit(function, at, before), here, _limit(function, at, after)])
        if np.ptp(values) > _RELATIVE * float(np.abs(values).max()) + _ABSOLUTE * scale:
            return True
    return False


def is_unbounded(function: Probe, at: float, beside: float) -> bool:
    """Return True if values grow like a negative power of the distance to ``at``, from one side."""
    if math.isinf(at):
        return False
    near, middle, far = np.abs(_approach(function, at, beside)).tolist()
    return bool(near > _STEEP * middle > _STEEP**2 * far)


def _approach(function: Probe, at: float, beside: float) -> Array:
    """Evaluate at three latents at geometric distances from ``at``, the nearest first."""
    return function(at + (beside - at) * np.array([1.0, 16.0, 256.0]))


def _limit(function: Probe, at: float, beside: float) -> float:
    """Extrapolate the limit at ``at`` from one side, where values move by a power of the distance."""
    near, middle, far = _approach(function, at, beside).tolist()
    if not 0 < abs(near - middle) < abs(middle - far):
        return float(near)
    return float(near - (near - middle) ** 2 / (near - 2 * middle + far))


def _with_outer_ends(joints: list[Joint], domain: Interval) -> list[Joint]:
    """Put the joints between the ends of the domain; a jump at an end itself only moves the limit there."""
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
    """Join jumps a few floats apart into one.

    The point itself is the float of the cluster that is written with few digits, because a quantizer written
    with ``w >= 0.3`` jumps at 0.3. Without such a float, rounding has moved the jump by a float or two, and
    the point is the float nearest to 0.
    """
    clusters: list[list[float]] = []
    for low, high in jumps:
        if clusters and low - clusters[-1][-1] <= 4 * np.spacing(abs(low)):
            clusters[-1] += [low, high]
        else:
            clusters.append([low, high])
    joints = []
    for floats in clusters:
        # The float between two neighbouring jumps is the point, because it has values of its own.
        candidates = floats[1:-1] or floats
        at = min(candidates, key=lambda w: (min(len(repr(abs(w))), _MANY_DIGITS), abs(w)))
        below, _, above = _around(at)
        joints.append((min(floats[0], below), at, max(floats[-1], above)))
    return joints
