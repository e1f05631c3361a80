"""Refine samples: halve cells until straight lines predict the values, or a jump is pinned down."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from proxconnect.theory._arrays import Array, Flags
from proxconnect.theory.sampling.probe import Probe

# Smaller numbers count as 0, so that bisection towards 0 ends.
_TINY = 1e-300
_SMOOTH = 100.0
_KEPT_LEVELS = 10
_MOST_LEVELS = 120
_BUDGET = 300_000
# At most so many cells of one width, more than 1/mu from 0, are halved again. After twelve halvings only
# jumps are left.
_FAR_CELLS, _FAR_JUMPS, _HALVINGS = 60_000, 2_000, 12
_WIDE, _WIDE_BEND = 1e3, 10.0


@dataclass(frozen=True)
class Tolerance:
    """The largest error of a value that means nothing."""

    relative: Array
    absolute: Array

    def __call__(self, largest: Array) -> Array:
        return self.relative[:, None] * largest + self.absolute[:, None]


class Refinement:
    """Bisection of the cells in which a function is no straight line.

    ``jumps`` are the gaps between neighbouring floats across which a function jumps. ``left`` are the cells
    near 0 that could not be resolved. ``low`` and ``high`` bound the part of the domain that was resolved.
    """

    def __init__(self, forward: Probe, backward: Probe, tolerance: Tolerance, core: float) -> None:
        self.forward, self.backward, self.tolerance, self.core = forward, backward, tolerance, core
        self.found: list[tuple[Array, Array]] = []
        self.jumps: list[tuple[float, float]] = []
        self.count = 0
        self.low, self.high = -math.inf, math.inf
        self.left: tuple[Array, Array] = (np.empty(0), np.empty(0))

    def run(self, w: Array, values: Array) -> None:
        """Refine around the latents ``w``; ``values`` has a row for each function."""
        self.found.append((w, values))
        a, b, at_a, at_b = w[:-1], w[1:], values[:, :-1], values[:, 1:]
        # Far out cells are wide, and a power of w bends more in a wide cell than in a narrow one.
        parent = np.where(np.abs(a) > _WIDE * self.core, 3 * _WIDE_BEND, np.zeros_like(at_a))
        near = 0
        for level in range(_MOST_LEVELS):
            middle = _middle(a, b)
            inner = (middle > a) & (middle < b)
            self._collect(a[~inner], b[~inner], at_a[:, ~inner], at_b[:, ~inner])
            if level:
                inner &= self._affordable(a, b, _FAR_CELLS if level <= _HALVINGS else _FAR_JUMPS)
            a, b, at_a, at_b, middle = a[inner], b[inner], at_a[:, inner], at_b[:, inner], middle[inner]
            parent = parent[:, inner]
            if len(middle) == 0 or near > _BUDGET:
                break
            at_middle = np.stack([self.forward(middle), self.backward(middle)])
            self.count += len(middle)
            near += int((np.abs(middle) <= self.core).sum()) if level else 0
            if level < _KEPT_LEVELS:
                self.found.append((middle, at_middle))
            with np.errstate(over="ignore", invalid="ignore"):
                straight = at_a + (at_b - at_a) * ((middle - a) / (b - a))
                # The distance from a straight line shrinks to a quarter in half the cell where the pair is
                # smooth. It stays where the pair jumps.
                largest = np.maximum(np.abs(at_a), np.abs(at_b))
                bend = np.abs(at_middle - straight) / self.tolerance(largest)
            smooth = (bend <= np.maximum(parent / 3, 1.0)) & (bend <= _SMOOTH)
            bent = ~smooth.all(axis=0)
            parent = np.concatenate([bend[:, bent], bend[:, bent]], axis=1)
            a, b = np.concatenate([a[bent], middle[bent]]), np.concatenate([middle[bent], b[bent]])
            at_a, at_b = (
                np.concatenate([at_a[:, bent], at_middle[:, bent]], axis=1),
                np.concatenate([at_middle[:, bent], at_b[:, bent]], axis=1),
            )
        # A cell that is left far from 0 ends the search there. One near 0 is reported as unresolved.
        far = np.minimum(np.abs(a), np.abs(b)) > self.core
        self._give_up(a[far], b[far])
        self.left = a[~far], b[~far]

    def kept(self) -> tuple[Array, Array, Array]:
        """Return the latents to keep, in order, with the values of both functions."""
        w = np.concatenate([points for points, _ in self.found])
        values = np.concatenate([found for _, found in self.found], axis=1)
        order = np.argsort(w, kind="stable")
        return w[order], values[0, order], values[1, order]

    def _affordable(self, a: Array, b: Array, most: int) -> Flags:
        """Choose the cells to halve again; of too many, give up the farthest and all beyond them."""
        inside = (a >= self.low) & (b <= self.high)
        distance = np.minimum(np.abs(a), np.abs(b))
        candidates = np.flatnonzero(inside & (distance > self.core))
        order = candidates[np.argsort(distance[candidates], kind="stable")]
        given_up = order[most:]
        self._give_up(a[given_up], b[given_up])
        return (a >= self.low) & (b <= self.high)

    def _give_up(self, a: Array, b: Array) -> None:
        self.high = min([self.high, *a[a > 0].tolist()])
        self.low = max([self.low, *b[b < 0].tolist()])

    def _collect(self, a: Array, b: Array, at_a: Array, at_b: Array) -> None:
        largest = np.maximum(np.abs(at_a), np.abs(at_b))
        jumping = (np.abs(at_b - at_a) > self.tolerance(largest)).any(axis=0)
        self.jumps += zip(a[jumping].tolist(), b[jumping].tolist(), strict=True)


def _middle(a: Array, b: Array) -> Array:
    """Find a latent inside each cell: the geometric mean where the ends differ in magnitude, else the mean.

    Where nothing lies between the ends it is one of them.
    """
    middle = a / 2 + b / 2
    size_a, size_b = np.maximum(np.abs(a), _TINY), np.maximum(np.abs(b), _TINY)
    wide = (np.maximum(size_a, size_b) / 4 > np.minimum(size_a, size_b)) & (np.sign(a) * np.sign(b) >= 0)
    geometric = np.sqrt(size_a) * np.sqrt(size_b)
    nothing = np.maximum(size_a, size_b) <= 4 * _TINY
    return np.where(nothing, a, np.where(wide, np.where(b > 0, geometric, -geometric), middle))
