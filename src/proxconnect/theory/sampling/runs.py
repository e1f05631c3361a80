"""Find the flats, the signs, the turning points and the zeros of sampled functions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from proxconnect.theory._arrays import Array, Flags, Function

_ROUNDINGS = 4
_SHORTEST = 4
_STRICT = 8
_ZOOMS, _ZOOM_POINTS = 8, 65
_MOST_ZEROS = 64

Run = tuple[int, int]


def bisect(holds: Callable[[Array], Flags], low: Array, high: Array) -> Array:
    """Find the latent in each interval at which ``holds`` changes; it differs at the two ends."""
    low, high = low.copy(), high.copy()
    here = holds(low)
    while True:
        middle = low + (high - low) / 2
        open_ = (middle != low) & (middle != high) & (np.abs(high - low) > 1e-300)
        if not open_.any():
            nearer: Array = np.where(np.abs(low) <= np.abs(high), low, high)
            return nearer
        same = (holds(middle) == here) & open_
        low, high = np.where(same, middle, low), np.where(open_ & ~same, middle, high)


def true_runs(flags: Flags) -> list[Run]:
    """Return the first and the last index (inclusive) of each run of true flags."""
    edges = np.diff(np.concatenate([[0], flags.astype(np.int8), [0]]))
    return list(
        zip(np.flatnonzero(edges == 1).tolist(), (np.flatnonzero(edges == -1) - 1).tolist(), strict=True)
    )


def is_flat(w: Array, f: Array, epsilon: float) -> bool:
    """Return True if rounding explains all differences of ``F``."""
    rounding = 8 * _ROUNDINGS * epsilon * np.maximum(np.abs(f), np.abs(w))
    return bool((np.abs(f - np.median(f)) <= rounding).all())


def flat_runs(w: Array, f: Array, epsilon: float) -> list[Run]:
    """Find the first and the last sample of each stretch on which ``F`` is constant to rounding.

    Values that grow strictly from sample to sample are no flat, however slowly they grow.
    """
    steps = np.diff(f)
    size = np.maximum(np.abs(f), np.abs(w))
    level = np.abs(steps) <= _ROUNDINGS * epsilon * np.maximum(size[1:], size[:-1])
    for strict in (steps > 0, steps < 0):
        for first, last in true_runs(strict):
            if last - first + 1 >= _STRICT:
                level[first : last + 1] = False
    found: list[Run] = []
    for first, last in true_runs(level):
        inside = steps[first : last + 1]
        if (inside >= 0).all() or (inside <= 0).all():
            # F approaches saturation by one rounding error at a time: only the longest stay is a flat.
            stays = [
                run for run in true_runs(inside == 0) if run[1] - run[0] + 1 >= min(_SHORTEST, len(steps))
            ]
            if stays:
                start, end = max(stays, key=lambda run: run[1] - run[0])
                found.append((first + start, first + end + 1))
        elif found and is_flat(w[found[-1][0] : last + 2], f[found[-1][0] : last + 2], epsilon):
            found[-1] = (found[-1][0], last + 1)
        elif last - first + 1 >= _SHORTEST and is_flat(w[first : last + 2], f[first : last + 2], epsilon):
            found.append((first, last + 1))
    return found


def _outside(length: int, flats: list[Run]) -> list[Run]:
    """Return the runs of samples between the flats, with the ends of the flats."""
    starts = [0, *(last for _, last in flats)]
    ends = [*(first for first, _ in flats), length - 1]
    return [(start, end) for start, end in zip(starts, ends, strict=True) if end > start]


def turning_points(
    function: Function, w: Array, f: Array, flats: list[Run], noise: float, epsilon: float
) -> list[float]:
    """Find the latents at which ``F`` turns from rising to falling or back."""
    found: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    for first, last in _outside(len(w), flats):
        for index, up in _turns(f[first : last + 1], noise, epsilon):
            at = first + index
            found[up].append((w[max(at - 1, first)], w[min(at + 1, last)]))
    tops = _extrema(function, found[True])
    bottoms = _extrema(lambda x: -function(x), found[False])
    return [*tops.tolist(), *bottoms.tolist()]


def _turns(f: Array, noise: float, epsilon: float) -> list[tuple[int, bool]]:
    """Find the indices of maxima (True) and minima (False) that stand out by more than ``noise``."""
    rounding = noise + 64 * epsilon * np.abs(f)
    extremes = np.flatnonzero(np.diff(np.sign(np.diff(f))) != 0) + 1
    candidates = np.unique(np.concatenate([[0], extremes, [len(f) - 1]]))
    turns: list[tuple[int, bool]] = []
    high = low = 0
    direction = 0
    values, slack = f.tolist(), rounding.tolist()
    for k in candidates.tolist():
        high = k if values[k] > values[high] else high
        low = k if values[k] < values[low] else low
        if direction >= 0 and values[k] < values[high] - slack[k]:
            turns += [(high, True)] if direction > 0 else []
            direction, low = -1, k
            high = k
        elif direction <= 0 and values[k] > values[low] + slack[k]:
            turns += [(low, False)] if direction < 0 else []
            direction, high = 1, k
            low = k
    return turns


def _extrema(function: Function, around: list[tuple[float, float]]) -> Array:
    """Find the latent of the largest value in each of the given intervals."""
    if not around:
        return np.empty(0)
    low, high = np.array(around).T
    rows = np.arange(len(low))
    fractions = np.linspace(0, 1, _ZOOM_POINTS)
    at: Array = 0.5 * (low + high)
    for _ in range(_ZOOMS):
        points = low[:, None] + (high - low)[:, None] * fractions
        k = np.argmax(function(points.reshape(-1)).reshape(points.shape), axis=1)
        at = points[rows, k]
        low = points[rows, np.maximum(k - 1, 0)]
        high = points[rows, np.minimum(k + 1, _ZOOM_POINTS - 1)]
    return at


def sign_runs(f: Array, b: Array, noise: float, scale: float) -> list[tuple[int, int, int]]:
    """Find the first sample, the last sample and the sign of each run of ``B``.

    The sign is 0 where ``B`` vanishes over several samples, or is rounding while ``F`` moves. Single values
    that are nearly 0 belong to the run beside them.
    """
    signs = np.sign(b)
    small = np.abs(b) <= 1e-12 * scale
    signs[small] = 2
    for first, last in true_runs(small):
        values = b[first : last + 1]
        zero = bool((values == 0).all())
        rounding = np.abs(values).max() <= 1e-15 * scale and np.ptp(f[first : last + 1]) > noise
        if last - first + 1 >= _SHORTEST and (zero or rounding):
            signs[first : last + 1] = 0
    signed = np.flatnonzero(signs != 2)
    if len(signed) == 0:
        return [(0, len(b) - 1, 0)]
    starts = np.concatenate([[0], np.flatnonzero(np.diff(signs[signed])) + 1])
    ends = np.concatenate([starts[1:] - 1, [len(signed) - 1]])
    return [
        (int(signed[s]), int(signed[e]), int(signs[signed[s]])) for s, e in zip(starts, ends, strict=True)
    ]


def touching_zeros(function: Function, w: Array, b: Array, flats: list[Run], noise: float) -> list[float]:
    """Find the isolated zeros of ``B`` without a change of sign, where ``F`` moves."""
    size = np.abs(b)
    lowest = np.flatnonzero((size[1:-1] <= size[:-2]) & (size[1:-1] < size[2:])) + 1
    moving = np.zeros(len(w), dtype=bool)
    for first, last in _outside(len(w), flats):
        moving[first : last + 1] = True
    around = np.maximum(size[lowest - 1], size[lowest + 1])
    lowest = lowest[moving[lowest] & (around > 0) & (size[lowest] <= 1e5 * noise)]
    lowest = lowest[np.argsort(size[lowest])][:_MOST_ZEROS]
    exact = w[lowest[b[lowest] == 0]]
    near = lowest[b[lowest] != 0]
    at = _extrema(lambda x: -np.abs(function(x)), list(zip(w[near - 1], w[near + 1], strict=True)))
    candidates = np.concatenate([exact, at])
    found: list[float] = candidates[np.abs(function(candidates)) <= 1e-2 * noise].tolist()
    return found
