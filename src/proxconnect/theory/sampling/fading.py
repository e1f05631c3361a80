"""Find where floats no longer resolve a pair: ``F`` saturates or ``B`` underflows.

``tanh`` is 1 in float64 from 19.06 on, and ``sech^2`` is 0 from 373 on, although neither function is constant
there. A clipped line and a dead zone are constant: they reach their level by a power of the distance. A
function that fades out has hardly changed over the last thousandth of the way.
"""

from __future__ import annotations

import numpy as np

from proxconnect.theory._arrays import Array
from proxconnect.theory.sampling.probe import Probe
from proxconnect.theory.sampling.runs import bisect
from proxconnect.theory.sampling.samples import Samples

_QUANTA = 16
_POWER = 0.4
_RELATIVE = 1e-6


def visible(forward: Probe, backward: Probe, samples: Samples) -> Samples:
    """Keep the samples as far out as floats resolve the pair."""
    for high in (True, False):
        for find, reason in (
            (_saturation, "F no longer changes in floats but B does"),
            (_underflow, "B is too small for floats but F still changes"),
        ):
            end = find(forward, backward, samples, high)
            if end is not None:
                low_cut, high_cut = (-np.inf, end) if high else (end, np.inf)
                samples = samples.cut(low_cut, high_cut, f"beyond {end:.6g} {reason}")
    return samples


def _underflow(forward: Probe, backward: Probe, samples: Samples, high: bool) -> float | None:
    w, f, b = _outward(samples, high)
    last = _last(b != 0)
    if last is None or last >= len(w) - 2 or np.ptp(f[last + 1 :]) == 0:
        return None
    end = float(bisect(lambda x: backward(x) == 0, w[last + 1 : last + 2], w[last : last + 1])[0])
    return end if _fades(backward, 0.0, end, float(w[0]), samples.scales[1]) else None


def _saturation(forward: Probe, backward: Probe, samples: Samples, high: bool) -> float | None:
    w, f, b = _outward(samples, high)
    last = _last(f != f[-1])
    if last is None or last >= len(w) - 2:
        return None
    tail = b[last + 1 :]
    noise = _RELATIVE * samples.scales[1]
    if np.ptp(tail) <= noise or tail.min() < -noise or ((tail == 0).any() and not _vanishes(tail)):
        return None
    level = f[-1:]
    end = float(bisect(lambda x: forward(x) == level, w[last + 1 : last + 2], w[last : last + 1])[0])
    return end if _fades(forward, float(level[0]), end, float(w[0]), abs(float(level[0]))) else None


def _outward(samples: Samples, high: bool) -> tuple[Array, Array, Array]:
    """Return the samples from the one nearest to 0 outwards."""
    order = slice(None) if high else slice(None, None, -1)
    w, f, b = (part[order] for part in (samples.w, samples.forward, samples.backward))
    start = int(np.argmin(np.abs(w)))
    return w[start:], f[start:], b[start:]


def _last(flags: Array) -> int | None:
    found = np.flatnonzero(flags)
    return int(found[-1]) if len(found) else None


def _vanishes(tail: Array) -> bool:
    """Return True if values fall to 0 gradually and stay there."""
    last = _last(tail != 0)
    return last is not None and bool((tail[: last + 1] > 0).all()) and tail[last] < 1e-9 * tail.max()


def _fades(function: Probe, level: float, end: float, inner: float, scale: float) -> bool:
    """Return True if a function fades into ``level`` at ``end`` on the way from ``inner``."""
    return fades_into(function, level, end, inner - end, scale)


def fades_into(
    function: Probe, level: float, end: float, outwards: float, scale: float, far: float = 1e-3
) -> bool:
    """Return True if a function reaches ``level`` at ``end`` more smoothly than any power of the distance.

    Args:
        function: the function.
        level: its value at ``end`` and beyond.
        end: the latent at which it has reached the level.
        outwards: the way from there to where it has not.
        scale: the size of the values whose rounding counts.
        far: the largest share of this way that is looked at.
    """
    far, near = max(far, 64 * function.epsilon), max(1e-6, 4 * function.epsilon)
    at_near, at_far = np.abs(function(end + np.array([near, far]) * outwards) - level).tolist()
    quantum = _QUANTA * function.epsilon * scale
    if at_near > quantum:
        return False
    smallest = max(at_near, quantum / _QUANTA / 2 if scale else 5e-324)
    return bool(at_far <= (far / near) ** _POWER * smallest)
