"""Tell flats that are rounding from real ones.

``tanh`` is 1 in float64 beyond 19.06, and 0.5 tanh(w) + 0.5 tanh(5 w) stays at the float below 1 for a while
before that. Neither function is constant there. A clipped line and a dead zone are: they leave their flat by
a power of the distance. A function that is merely rounded still has its level, to rounding, a hundredth of
the flat's width outside of it.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from proxconnect.theory._arrays import Array, Flags
from proxconnect.theory.sampling.fading import fades_into
from proxconnect.theory.sampling.samples import Samples
from proxconnect.theory.structure._pair import SampledPair
from proxconnect.theory.structure.structure import Stretch, Unknown

_ROUNDINGS = 64
_SHARE = 1e-2  # of the flat's width, at which a function that is merely rounded still has its level


def with_rounded(pair: SampledPair, stretches: tuple[Stretch, ...]) -> tuple[Stretch, ...]:
    """Mark the stretches whose flat is one of rounding; neighbouring flats of one level are one flat."""
    marked: list[Stretch] = []
    for run in _runs(pair, stretches):
        rounded = run[0].flat and _is_rounded(pair, run[0], run[-1])
        marked += [replace(stretch, rounded=rounded) for stretch in run]
    return tuple(marked)


def saturated(pair: SampledPair, stretches: tuple[Stretch, ...], samples: Samples) -> Samples:
    """Keep the samples as far out as ``F`` is not yet within rounding of its end, if ``B`` varies there."""
    for high in (True, False):
        level = stretches[-1 if high else 0].forward[high]
        varying = any(
            s.rounded
            and s.constant is None
            and (s.start > 0 if high else s.end < 0)
            and _only_rounding(pair, s.forward[not high], level)
            for s in stretches
        )
        w = samples.w[(samples.w > 0) if high else (samples.w < 0)]
        away = ~_only_rounding(pair, level, pair.forward(w))
        if varying and away.any():
            end = float(w[away][-1 if high else 0])
            cut = (-math.inf, end) if high else (end, math.inf)
            samples = samples.cut(*cut, f"beyond {end:.6g} F no longer changes in floats but B does")
    return samples


def unknowns(pair: SampledPair, stretches: tuple[Stretch, ...]) -> tuple[Unknown, ...]:
    """List the rounded flats on which ``B`` varies or changes: whether ``F`` is constant there is unknown."""
    found = []
    for run in _runs(pair, stretches):
        values = [stretch.constant for stretch in run if stretch.constant is not None]
        varies = len(values) < len(run) or np.ptp(values) > pair.backward_noise + pair.relative * max(values)
        if run[0].rounded and varies:
            reason = "F no longer changes in floats but B does"
            found.append(Unknown(3, run[0].start, run[-1].end, reason))
    return tuple(found)


def _runs(pair: SampledPair, stretches: tuple[Stretch, ...]) -> list[list[Stretch]]:
    """Group neighbouring flats of one level; every other stretch is a group of its own."""
    runs: list[list[Stretch]] = []
    for stretch in stretches:
        joined = runs and runs[-1][-1].flat and stretch.flat
        if joined and _only_rounding(pair, runs[-1][-1].forward[1], stretch.forward[0]):
            runs[-1].append(stretch)
        else:
            runs.append([stretch])
    return runs


def _is_rounded(pair: SampledPair, first: Stretch, last: Stretch) -> bool:
    width = last.end - first.start
    for end, level, outwards in ((first.start, first.forward[0], -1), (last.end, last.forward[1], 1)):
        if math.isfinite(end):
            distance = width if math.isfinite(width) and abs(width) < 1e6 else abs(end)
            beyond = outwards * distance
            outside = float(pair.forward(np.array([end + beyond]))[0])
            if outside == level:
                continue  # F goes on as it is: the samples end here, and not the flat
            scale = max(abs(level), abs(outside))
            if distance and fades_into(pair.forward, level, end, beyond, scale, far=_SHARE):
                return True
    return False


def _only_rounding(pair: SampledPair, level: float, other: float | Array) -> Flags:
    size = max(abs(level), pair.forward_scale)
    small: Flags = np.abs(other - level) <= _ROUNDINGS * pair.forward.epsilon * size
    return small
