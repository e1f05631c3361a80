"""Decide from successive octaves if ``dF/B`` can be integrated up to a zero of ``B``."""

from __future__ import annotations

import math

import numpy as np

from proxconnect.theory._arrays import Array
from proxconnect.theory.structure.structure import Stretch, Structure

_SUBCELLS = 32
_OCTAVES = 28
_SURELY = 0.9


def integrable(structure: Structure, stretch: Stretch, high: bool) -> bool | None:
    """Decide if ``int dF/B`` is finite up to one end of a stretch; None if that cannot be resolved.

    Let ``I_k`` be the part between the distances ``h 2^-(k+1)`` and ``h 2^-k`` from the end. The integral is
    finite if ``I_(k+1)/I_k`` stays below 1. It is infinite if the ratio stays at 1 or above. For ``F = w``
    and ``B = |w|^p`` the ratio is ``2^(p-1)``.
    """
    end = stretch.end if high else stretch.start
    limit = stretch.backward[high]
    if stretch.flat or stretch.identity or math.isinf(end) or abs(limit) > structure.backward_noise:
        return True
    if stretch.sign != (1 if stretch.trend == "rising" else -1):
        return True  # refuted on the stretch itself
    width = min(stretch.end - stretch.start, max(1.0, abs(end)))
    beside = end + 1e-6 * width * (-1 if high else 1)
    if abs(limit) > 1e-3 * abs(float(structure.backward(np.array([beside]))[0])):
        return True  # small, but no zero
    parts = _octave_parts(structure, stretch, end, width, high)
    if len(parts) < 3:
        return None
    ratios = parts[1:] / parts[:-1]
    last = ratios[-6:]
    if len(last) < 5:
        return True if last.max() < _SURELY else None
    spread = float(last.max() - last.min())
    ratio = float(last[-1])
    if ratio < 0.97 or (ratio < 1 - 1e-3 and spread < 1e-4):
        return True
    if ratio > 1 - 1e-3 and spread < 1e-3:
        return False
    return None if ratio < 1.01 else False


def _octave_parts(structure: Structure, stretch: Stretch, end: float, width: float, high: bool) -> Array:
    """Integrate ``dF/B`` over each octave of the distance from the end, as far as ``F`` resolves them."""
    depth = _OCTAVES if end == 0 else min(_OCTAVES, int(math.log2(0.5 * width / (1e-9 * abs(end)))))
    if depth < 1:
        return np.empty(0)
    octaves = np.arange(depth * _SUBCELLS + 1) / _SUBCELLS
    distance = 0.5 * width * 2.0**-octaves
    w = end - distance if high else end + distance
    middle = 0.5 * (w[1:] + w[:-1])
    values = structure.forward(w)
    growth, between = np.abs(np.diff(values)), np.abs(structure.backward(middle))
    if (between == 0).any():
        return np.ones(8)  # B vanishes where F still moves: the integral is infinite
    parts = (growth / between).reshape(depth, _SUBCELLS).sum(axis=1)
    # Differences of F below its rounding are noise.
    rounding = 1e3 * np.finfo(np.float64).eps * np.abs(values[1:])
    resolved = (growth > rounding).reshape(depth, _SUBCELLS).all(axis=1)
    known: Array = parts[: depth if resolved.all() else int(np.argmin(resolved))]
    return known
