"""Describe a sampled pair on one stretch: trend, sign and limits."""

from __future__ import annotations

import math

import numpy as np

from proxconnect.quantizers._structure import Trend
from proxconnect.theory._arrays import Array
from proxconnect.theory._cells import integrals
from proxconnect.theory.sampling.runs import is_flat
from proxconnect.theory.structure._jumps import is_unbounded
from proxconnect.theory.structure._pair import SampledPair
from proxconnect.theory.structure.structure import Stretch

_UNBOUNDED = 1e3
_FEWEST = 16


def stretch_of(
    pair: SampledPair,
    start: float,
    end: float,
    samples: tuple[Array, Array, Array],
    first: float | None,
    last: float | None,
) -> Stretch:
    """Describe the pair between ``start`` and ``end``.

    ``samples`` are latents beyond both ends, with ``F`` and ``B`` there. ``first`` and ``last`` are the
    latents whose values stand for the limits at a jump; None where the pair does not jump.
    """
    w, f, b = samples
    low = start if first is None else first
    high = end if last is None else last
    inside = slice(int(np.searchsorted(w, start, side="right")), int(np.searchsorted(w, end, side="left")))
    ends = np.array([low if math.isfinite(low) else w[0], high if math.isfinite(high) else w[-1]])
    f_ends, b_ends = pair.forward(ends), pair.backward(ends)
    if inside.stop - inside.start >= _FEWEST:
        w, f, b = w[inside], f[inside], b[inside]
    else:
        w = np.linspace(ends[0], ends[1], _FEWEST + 2)[1:-1]
        f, b = pair.forward(w), pair.backward(w)
    change = float(f_ends[1] - f_ends[0])
    level = is_flat(np.concatenate([ends, w]), np.concatenate([f_ends, f]), pair.forward.epsilon)
    flat = level and not _strict(f)
    trend: Trend = "flat" if flat else "rising" if change >= 0 else "falling"
    limits = [float(v) for v in b_ends]
    for k, (at, beside) in enumerate(((start, first), (end, last))):
        large = abs(limits[k]) > _UNBOUNDED * pair.backward_scale
        if large and beside is not None and is_unbounded(pair.backward, at, beside):
            limits[k] = math.copysign(math.inf, limits[k])
    sign = int(np.sign(b[np.argmax(np.abs(b))]))
    constant = _constant(pair, w, b, f) if flat or np.ptp(b) == 0 else None
    if constant is not None:
        sign = int(np.sign(constant))
        limits = [constant, constant]
    return Stretch(
        start,
        end,
        trend,
        (float(f_ends[0]), float(f_ends[1])),
        sign,
        (limits[0], limits[1]),
        constant,
        not flat and constant is None and _is_derivative(pair, w),
        (float(w[np.argmin(b)]), float(w[np.argmax(b)])),
    )


def _constant(pair: SampledPair, w: Array, b: Array, f: Array) -> float | None:
    """Return the one value of ``B``; None where it has several."""
    middle = float(0.5 * (b.max() + b.min()))
    if np.ptp(b) == 0:
        return middle
    largest = float(np.abs(b).max())
    growth_of_f = float(np.sum(np.abs(b[1:] + b[:-1]) / 2 * np.diff(w)))
    # A slope so small that F would not show it does not contradict a flat of F.
    if largest <= pair.backward_noise or growth_of_f <= 4 * pair.forward.epsilon * float(np.abs(f).max()):
        return 0.0
    return middle if np.ptp(b) <= pair.relative * largest + pair.backward_noise else None


def _is_derivative(pair: SampledPair, w: Array) -> bool:
    """Return True if ``B = F'``: if the growth of ``F`` over cells is the integral of ``B``."""
    cells = np.unique(np.linspace(0, len(w) - 2, 1024).astype(int))
    a, h = w[cells], np.diff(w)[cells]
    area, _ = integrals(pair.backward, a, h)
    f = pair.forward(np.concatenate([a, a + h]))
    growth = f[len(a) :] - f[: len(a)]
    with np.errstate(over="ignore"):
        rounding = 16 * pair.forward.epsilon * (np.abs(f[len(a) :]) + np.abs(w[cells]) * np.abs(area / h))
    near = np.abs(growth - area) <= 1e-7 * np.abs(area) + rounding
    telling = np.abs(area) > 1e3 * rounding
    return bool(telling.sum() >= 8 and np.mean(near[telling]) > 0.99)


def _strict(f: Array) -> bool:
    """Return True if at least eight steps all rise or all fall."""
    steps = np.diff(f)
    return len(steps) >= 8 and bool((steps > 0).all() or (steps < 0).all())
