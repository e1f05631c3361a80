"""Make the first latents: a coarse grid out to the largest float, and a dense one for narrow features.

The dense grid has a point every ``RESOLUTION / mu`` within ``|w| <= 1/mu``, every ``RESOLUTION |w|`` out to
``10/mu``, and every ``4 RESOLUTION |w|`` out to ``1000/mu``.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from proxconnect.theory._arrays import Array, Flags
from proxconnect.theory.interval import Interval

CORE = 8.0
RESOLUTION = 4e-6
FAR_RESOLUTION = 4 * RESOLUTION
_INNER, _OUTER = 10.0, 1e3
_BLOCK = 32
_AT_ONCE = 1024  # blocks, few enough for the processor's cache
_NEAREST, _LARGEST = 1e-9, 1e308
_NEAR_PER_DECADE, _FAR_PER_DECADE = 200, 100
_GOLDEN = (math.sqrt(5) - 1) / 2
_MOST_BLOCKS = 2000
_STANDS_OUT = 6.0


def coarse_grid(mu: float, domain: Interval) -> Array:
    """Make latents in geometric progression towards 0, the largest float and the ends of the domain."""
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


@lru_cache(maxsize=2)
def dense_grid(mu: float, domain: Interval) -> Array:
    """Make read-only latents to scan for narrow features: whole blocks, and one latent more."""
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
    w = w[: (len(w) - 1) // _BLOCK * _BLOCK + 1]
    w.flags.writeable = False  # shared by all checks at this sharpness
    return w


def standing_out(w: Array, values: tuple[Array, ...], scales: Array, epsilons: Array) -> Array:
    """Choose points of the dense grid: ends of blocks, and all of a block in which a function stands out.

    A function stands out in a block where it leaves the straight line between the block's ends by far more
    than in the blocks around it. It also stands out where it falls as well as rises, or has both signs.
    """
    kept = np.zeros(len(w), dtype=bool)
    kept[::_BLOCK] = True
    if len(w) < 2 * _BLOCK:
        return np.ones(len(w), dtype=bool)
    for row, scale, epsilon in zip(values, scales, epsilons, strict=True):
        chosen = np.flatnonzero(_odd(w, row, scale, epsilon))
        if len(chosen) > _MOST_BLOCKS:
            nearest = np.argsort(np.abs(w[chosen * _BLOCK]), kind="stable")[:_MOST_BLOCKS]
            chosen = chosen[nearest]
        flags: Flags = np.zeros(len(w) // _BLOCK, dtype=bool)
        flags[chosen] = True
        kept[:-1] |= np.repeat(flags, _BLOCK)
    return w[kept]


def _odd(w: Array, row: Array, scale: float, epsilon: float) -> Flags:
    """Flag the blocks in which a function with values ``row`` stands out."""
    bend, rounding, lowest, least, most = np.zeros((5, len(w) // _BLOCK))
    for start in range(0, len(bend), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        if np.ptp(row[start * _BLOCK : (start + _AT_ONCE) * _BLOCK + 1]) == 0:
            continue
        (points, w_first, w_last), (inside, first, last) = _columns(w, some), _columns(row, some)
        straight = (last - first) * ((points - w_first) / (w_last - w_first))
        away = np.abs(inside - first - straight).max(axis=0)
        size = np.maximum(np.abs(first), np.abs(last))
        rounding[some] = 16 * epsilon * np.abs(inside).max(axis=0) + 4 * epsilon * scale
        bend[some] = np.maximum(away - rounding[some] - 1e-9 * scale, 0) / (1e-2 * size + scale)
        steps = np.diff(inside, axis=0)
        least[some], most[some] = steps.min(axis=0), steps.max(axis=0)
        lowest[some] = np.where(np.minimum(first, last) >= 0, inside.min(axis=0), 0.0)
    around = _STANDS_OUT * _around(bend)
    turns = (least < -rounding) & (most > rounding)
    odd: Flags = (bend > around + 1e-8) | (turns & (bend > around)) | (lowest < -rounding)
    return odd


def _columns(row: Array, some: slice) -> tuple[Array, Array, Array]:
    """Arrange blocks as columns; also return the first value of each block and of the block after it."""
    inside = np.ascontiguousarray(row[:-1].reshape(-1, _BLOCK)[some].T)
    return inside, inside[0], row[_BLOCK::_BLOCK][some]


def _around(bend: Array) -> Array:
    """Measure how far the blocks beside each one bend, on the calmer of its two sides."""
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
    """Spread points evenly in ``[0, 1)``, each moved aside a little so that no period hides between them."""
    index = np.arange(count)
    aside = index * _GOLDEN
    aside -= np.floor(aside)
    return (index + aside) / count
