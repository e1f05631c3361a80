"""Where a pair is looked at first: a coarse grid out to the largest float, and a dense one to scan.

Within ``|w| <= 1/mu`` the dense grid has a point every ``RESOLUTION / mu``, and farther out every
``RESOLUTION |w|``; from ten times that size on, every four times as much.
"""

from __future__ import annotations

import math

import numpy as np

from proxconnect.theory._shape import Array, Flags
from proxconnect.theory.verdict import Interval

CORE = 8.0
RESOLUTION = 4e-6
FAR_RESOLUTION = 4 * RESOLUTION
_INNER, _OUTER = 10.0, 1e3
_BLOCK = 32
_NEAREST, _LARGEST = 1e-9, 1e308
_NEAR_PER_DECADE, _FAR_PER_DECADE = 200, 100
_GOLDEN = (math.sqrt(5) - 1) / 2
_MOST_BLOCKS = 2000
_STANDS_OUT = 6.0


def coarse_grid(mu: float, domain: Interval) -> Array:
    """Geometric towards 0, towards the largest float and towards the ends of the domain."""
    scales = {1.0, 1 / mu}
    decades = math.log10(_OUTER * max(scales) / (_NEAREST * min(scales)))
    size = np.geomspace(_NEAREST * min(scales), _OUTER * max(scales), int(_NEAR_PER_DECADE * decades))
    far = np.geomspace(size[-1], _LARGEST, int(_FAR_PER_DECADE * (308 - math.log10(size[-1]))))
    size = np.concatenate([size, far])
    parts = [np.array([0.0]), size, -size]
    parts += [np.array([-scale, scale]) for scale in scales]
    for end, inward in ((domain.low, 1), (domain.high, -1)):
        if math.isfinite(end):
            parts += [np.array([end]), end + inward * size]
    if math.isfinite(domain.low) and math.isfinite(domain.high):
        parts.append(np.linspace(domain.low, domain.high, 4097))
    return _within(np.concatenate(parts), domain)


def dense_grid(mu: float, domain: Interval) -> Array:
    """What narrow features are looked for on; its length is one more than a multiple of the block's."""
    scales = {1.0, 1 / mu}
    spacing = RESOLUTION * len(scales)
    parts = []
    for scale in scales:
        near = _uniform(-scale, scale, int(2 / spacing))
        inner = _geometric(scale, _INNER * scale, spacing)
        outer = _geometric(_INNER * scale, _OUTER * scale, 4 * spacing)
        parts += [near, inner, -inner, outer, -outer]
    if domain.high / 2 - domain.low / 2 < CORE * min(scales):
        parts.append(_uniform(domain.low, domain.high, 2**19))
    w = _within(np.concatenate(parts), domain)
    return w[: (len(w) - 1) // _BLOCK * _BLOCK + 1]


def standing_out(w: Array, values: Array, scales: Array, epsilons: Array) -> Array:
    """Points of the dense grid to keep: ends of blocks, and all of a block in which a function stands out.

    A function stands out in a block where it leaves the straight line between the block's ends by far more
    than in the blocks around it, or where it falls as well as rises, or has both signs.
    """
    kept = np.zeros(len(w), dtype=bool)
    kept[::_BLOCK] = True
    if len(w) < 2 * _BLOCK:
        return np.ones(len(w), dtype=bool)
    blocks = w[:-1].reshape(-1, _BLOCK)
    start, end = w[:-1:_BLOCK, None], w[_BLOCK::_BLOCK, None]
    along = (blocks - start) / (end - start)
    for row, scale, epsilon in zip(values, scales, epsilons, strict=True):
        inside = row[:-1].reshape(-1, _BLOCK)
        first, last = row[:-1:_BLOCK], row[_BLOCK::_BLOCK]
        size = np.maximum(np.abs(first), np.abs(last))
        rounding = 16 * epsilon * np.abs(inside).max(axis=1) + 4 * epsilon * scale
        bend = np.abs(inside - first[:, None] - (last - first)[:, None] * along).max(axis=1)
        bend = np.maximum(bend - rounding - 1e-9 * scale, 0) / (1e-2 * size + scale)
        odd = bend > _STANDS_OUT * _around(bend) + 1e-8
        steps = np.diff(inside, axis=1)
        turns = (steps.min(axis=1) < -rounding) & (steps.max(axis=1) > rounding)
        crosses = (inside.min(axis=1) < -rounding) & (np.minimum(first, last) >= 0)
        chosen = np.flatnonzero(odd | (turns & (bend > _STANDS_OUT * _around(bend))) | crosses)
        if len(chosen) > _MOST_BLOCKS:
            nearest = np.argsort(np.abs(blocks[chosen, 0]), kind="stable")[:_MOST_BLOCKS]
            chosen = chosen[nearest]
        flags: Flags = np.zeros(len(blocks), dtype=bool)
        flags[chosen] = True
        kept[:-1] |= np.repeat(flags, _BLOCK)
    return w[kept]


def _around(bend: Array) -> Array:
    """How much the blocks beside each one bend: on the calmer of its two sides."""
    padded = np.pad(bend, 3, mode="edge")
    before = np.maximum(padded[:-6], padded[1:-5])
    after = np.maximum(padded[5:-1], padded[6:])
    calmer: Array = np.minimum(before, after)
    return calmer


def _within(w: Array, domain: Interval) -> Array:
    w = np.unique(w)
    return w[(w >= domain.low) & (w <= domain.high)]


def _geometric(low: float, high: float, spacing: float) -> Array:
    count = int(math.log(high / low) / spacing)
    points: Array = low * np.exp(math.log(high / low) * _moved(count))
    return points


def _uniform(low: float, high: float, count: int) -> Array:
    points: Array = low + (high - low) * _moved(count)
    return points


def _moved(count: int) -> Array:
    """Evenly spread points, moved aside a little so that no period can hide between them."""
    index = np.arange(count)
    return (index + (index * _GOLDEN) % 1.0) / count
