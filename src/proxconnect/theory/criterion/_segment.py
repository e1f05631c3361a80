"""Construct ``P`` and ``T`` on one stretch, by the simplest formula that holds there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from proxconnect.theory._arrays import Array, Function
from proxconnect.theory._cells import sums_from
from proxconnect.theory.structure.structure import Stretch

_REACH = 1e6
_NEAREST = 1e-30
_GRADED = 3600
_BISECTIONS = 60
_HALVINGS = 16
_AGREEMENT = 1e-9
_MOST_NODES = 100_000
_EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Segment:
    """``P`` on a stretch, up to a constant, and ``T`` on its image.

    Where ``B = 0`` or ``B = F'``, ``P`` is the identity. Where ``B`` is another constant ``c``, ``P`` is
    ``F / c``. Elsewhere ``P`` is the integral of ``dF/B``.
    """

    stretch: Stretch
    forward: Function
    backward: Function

    @property
    def anchor(self) -> float:
        """First end of the stretch that is not far out; 0 if both are."""
        ends = zip((self.stretch.start, self.stretch.end), self.stretch.unending, strict=True)
        return next((end for end, far in ends if not far), 0.0)

    @cached_property
    def anchor_value(self) -> float:
        """Limit of ``F`` at the anchor."""
        ends = zip((self.stretch.start, self.stretch.end), self.stretch.forward, strict=True)
        here = [value for end, value in ends if end == self.anchor]
        return here[0] if here else float(self.forward(np.zeros(1))[0])

    @property
    def moves(self) -> bool:
        """True if ``P`` moves with slope 1."""
        return self.stretch.identity or self.stretch.constant == 0

    def prox(self, w: Array) -> Array:
        """Evaluate ``P`` up to a constant."""
        if self.moves and not (self.stretch.flat and self.stretch.constant):
            return w - self.anchor
        if self.stretch.flat:
            return np.zeros_like(w)
        if self.stretch.constant is not None:
            return (self.forward(w) - self.anchor_value) / self.stretch.constant
        return self._table.prox(w)

    def ends(self) -> tuple[float, float]:
        """Return the limits of ``prox`` at the two ends."""
        first, last = self.stretch.start, self.stretch.end
        if self.stretch.constant and not self.stretch.identity and not self.stretch.flat:
            low, high = (
                (value - self.anchor_value) / self.stretch.constant for value in self.stretch.forward
            )
            return low, high
        if self.moves or self.stretch.flat:
            stands_still = self.stretch.flat and bool(self.stretch.constant)
            return (0.0, 0.0) if stands_still else (first - self.anchor, last - self.anchor)
        return self._table.ends()

    def transform(self, u: Array) -> tuple[Array, Array]:
        """Evaluate ``T`` and ``T'`` at ``u``, in the range of ``prox``."""
        constant = self.stretch.constant
        if self.stretch.flat:
            return np.full_like(u, self.anchor_value), np.full_like(u, constant or 0.0)
        if self.stretch.identity:
            w = u + self.anchor
        elif constant is not None:
            return self.anchor_value + constant * u, np.full_like(u, constant)
        else:
            w = self._table.inverse(u)
        return self.forward(w), self.backward(w)

    @cached_property
    def _table(self) -> _Table:
        return _Table(self.stretch, self.forward, self.backward)


class _Table:
    """Table of ``int dF/B``, by a rule of fourth order on nodes graded towards the ends of the stretch."""

    def __init__(self, stretch: Stretch, forward: Function, backward: Function) -> None:
        self.forward, self.backward = forward, backward
        self.nodes = self._refined(_nodes(stretch))
        parts = self._rule(self.nodes[:-1], self.nodes[1:])
        centre = int(np.searchsorted(self.nodes, np.median(stretch.inside())))
        self.sums: Array = sums_from(centre, torch.from_numpy(parts)).numpy()

    def _refined(self, nodes: Array) -> Array:
        """Insert nodes until the rule and its halves agree, as far as the rounding of ``F`` allows."""
        for _ in range(_HALVINGS):
            a, b = nodes[:-1], nodes[1:]
            middle = 0.5 * (a + b)
            halves = self._rule(a, middle) + self._rule(middle, b)
            # More nodes improve nothing where B is 0.
            with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
                rounding = 64 * _EPSILON * np.abs(self.forward(middle) / self.backward(middle))
            rough = np.abs(self._rule(a, b) - halves) > _AGREEMENT * np.abs(halves) + rounding
            if not rough.any() or len(nodes) > _MOST_NODES:
                break
            nodes = np.insert(nodes, np.flatnonzero(rough) + 1, middle[rough])
        return nodes

    def _rule(self, a: Array, b: Array) -> Array:
        """Integrate over cells, with ``F`` and ``1/B`` as parabolas through the ends and the middle."""
        middle = 0.5 * (a + b)
        f0, f1, f2 = (self.forward(w) for w in (a, middle, b))
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            g0, g1, g2 = (1 / np.abs(self.backward(w)) for w in (a, middle, b))
            d, e = (f2 - f0) / 2, f2 - 2 * f1 + f0
            p, q = (g2 - g0) / 2, (g2 - 2 * g1 + g0) / 2
            smooth = 2 * d * g1 + (2 / 3) * (d * q + e * p)
            bounded = np.isfinite(smooth) & (smooth >= 0)
            plain = np.where(f2 > f0, (f2 - f0) * np.where(np.isfinite(g1), g1, 0.0), 0.0)
        return np.where(bounded, smooth, plain)

    def prox(self, w: Array) -> Array:
        inside = np.clip(w, self.nodes[0], self.nodes[-1])
        cell = np.clip(np.searchsorted(self.nodes, inside, side="right") - 1, 0, len(self.nodes) - 2)
        return self.sums[cell] + self._rule(self.nodes[cell], inside)

    def ends(self) -> tuple[float, float]:
        return float(self.sums[0]), float(self.sums[-1])

    def inverse(self, u: Array) -> Array:
        cell = np.clip(np.searchsorted(self.sums, u, side="right") - 1, 0, len(self.nodes) - 2)
        low, high = self.nodes[cell].copy(), self.nodes[cell + 1].copy()
        for _ in range(_BISECTIONS):
            middle = 0.5 * (low + high)
            below = self.sums[cell] + self._rule(self.nodes[cell], middle) <= u
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return 0.5 * (low + high)


def _nodes(stretch: Stretch) -> Array:
    low = max(stretch.start, min(-_REACH, stretch.end - _REACH))
    high = min(stretch.end, max(_REACH, stretch.start + _REACH))
    parts = [np.linspace(low, high, 4097)[1:-1]]
    for end, inward in ((low, 1), (high, -1)):
        nearest = max(4 * float(np.spacing(abs(end))), _NEAREST)
        parts.append(end + inward * np.geomspace(nearest, 0.5 * (high - low), _GRADED))
    if any(stretch.unending):
        core = np.linspace(-16, 16, 4097)
        far = np.geomspace(1e-6, _REACH, 2048)
        parts += [core, -far, far]
    nodes = np.unique(np.concatenate(parts))
    return nodes[(nodes > low) & (nodes < high)]
