"""Construct ``P`` and ``T`` with ``F = T o P`` and ``B = T' o P`` on the exact interval of a pair."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from proxconnect.theory._arrays import Array
from proxconnect.theory.criterion._segment import Segment
from proxconnect.theory.interval import Interval
from proxconnect.theory.structure.structure import Point, Structure


@dataclass(frozen=True)
class _Gap:
    """``T`` across a jump of ``P``: a parabola whose slopes at both ends are those of ``T`` on both sides.

    It is the smooth step where both slopes are 0.
    """

    start: float
    width: float
    value: float
    rise: float
    slopes: tuple[float, float]

    def transform(self, u: Array) -> tuple[Array, Array]:
        s = (u - self.start) / self.width
        low, high = self.slopes
        if low + high == 0:
            return self.value + self.rise * s * s * (3 - 2 * s), 6 * self.rise / self.width * s * (1 - s)
        slope = low + (high - low) * s
        return self.value + self.width * s * (low + slope) / 2, slope


class Decomposition:
    """``P`` and ``T`` on float64 arrays. ``P`` is 0 at 0; if it jumps there, 0 is the middle of the jump."""

    def __init__(self, structure: Structure, within: Interval) -> None:
        self.within = within
        chosen = [s for s in structure.stretches if within.low <= s.start and s.end <= within.high]
        self.segments = [Segment(s, structure.forward, structure.backward) for s in chosen]
        points = {p.at: p for p in structure.points if p is not None and p.at in within}
        if not chosen:
            zero = np.zeros(1)
            points = {0.0: Point(0.0, float(structure.forward(zero)[0]), float(structure.backward(zero)[0]))}
        self.points = points
        self.noise = structure.forward_noise
        self.offsets: list[float] = []
        self.places: dict[float, float] = {}
        self.gaps: list[_Gap] = []
        self._lay_out()
        self._move(-self._centre())

    def _lay_out(self) -> None:
        """Put the segments side by side, with gaps at the jumps of ``F``."""
        place = 0.0
        if not self.segments:
            self.places[0.0] = 0.0
        for segment in self.segments:
            s = segment.stretch
            low, high = segment.ends()
            if segment is self.segments[0] and s.unending[0]:
                offset = place  # measured from the near end, because the far one may be infinite
                if s.start in self.points:
                    self.places[s.start] = offset + low
            elif s.start in self.points:
                point = self.points[s.start]
                self.places.setdefault(s.start, place)
                place = self._gap(place, point.forward, s.forward[0], point.backward, s.backward[0])
                offset = place - low
            else:
                offset = place
            self.offsets.append(offset)
            place = offset + high
            if s.end in self.points:
                point = self.points[s.end]
                place = self._gap(place, s.forward[1], point.forward, s.backward[1], point.backward)
                self.places[s.end] = place

    def _gap(self, place: float, value: float, next_value: float, slope: float, next_slope: float) -> float:
        rise = next_value - value
        if rise <= self.noise:
            return place
        total = slope + next_slope
        width = 2 * rise / total if total > 0 else rise
        self.gaps.append(_Gap(place, width, value, rise, (slope, next_slope)))
        return place + width

    def _centre(self) -> float:
        if 0.0 in self.places:
            ends = [gap.start for gap in self.gaps if gap.start + gap.width == self.places[0.0]]
            ends += [gap.start + gap.width for gap in self.gaps if gap.start == self.places[0.0]]
            return 0.5 * (self.places[0.0] + ends[0]) if len(ends) == 1 else self.places[0.0]
        around = [k for k, s in enumerate(self.segments) if s.stretch.start < 0 < s.stretch.end]
        if not around:
            return 0.0
        return self.offsets[around[0]] + float(self.segments[around[0]].prox(np.zeros(1))[0])

    def _move(self, by: float) -> None:
        """Add a constant to ``P``; it is added once to all places, so that equal places stay equal."""
        self.offsets = [offset + by for offset in self.offsets]
        self.places = {at: place + by for at, place in self.places.items()}
        self.gaps = [replace(gap, start=gap.start + by) for gap in self.gaps]

    def prox(self, w: Array) -> Array:
        """Evaluate ``P``, which is constant beyond the interval."""
        low, high = self.within.low, self.within.high
        low = low if low in self.points or math.isinf(low) else np.nextafter(low, high)
        high = high if high in self.points or math.isinf(high) else np.nextafter(high, low)
        inside = np.clip(w, low, high)
        result = np.full_like(inside, np.nan)
        for segment, offset in zip(self.segments, self.offsets, strict=True):
            here = (inside > segment.stretch.start) & (inside < segment.stretch.end)
            result[here] = segment.prox(inside[here]) + offset
            for end, limit in zip((segment.stretch.start, segment.stretch.end), segment.ends(), strict=True):
                result[np.isinf(inside) & (inside == end)] = limit + offset
        for at, place in self.places.items():
            result[inside == at] = place
        return result

    def transform(self, u: Array) -> tuple[Array, Array]:
        """Evaluate ``T`` and ``T'``; ``T`` is linear beyond the range of ``P``."""
        value, slope = np.full_like(u, np.nan), np.full_like(u, np.nan)
        low, high = math.inf, -math.inf
        for segment, offset in zip(self.segments, self.offsets, strict=True):
            start, end = (offset + limit for limit in segment.ends())
            here = (u >= start) & (u <= end)
            value[here], slope[here] = segment.transform(u[here] - offset)
            low, high = min(low, start), max(high, end)
        for gap in self.gaps:
            here = (u > gap.start) & (u < gap.start + gap.width)
            value[here], slope[here] = gap.transform(u[here])
        for at, place in self.places.items():
            here = u == place
            value[here], slope[here] = self.points[at].forward, self.points[at].backward
            low, high = min(low, place), max(high, place)
        for edge, here in ((low, u < low), (high, u > high)):
            if here.any():
                (at_value,), (at_slope,) = self.transform(np.array([edge]))
                value[here], slope[here] = at_value + at_slope * (u[here] - edge), at_slope
        return value, slope


@dataclass(frozen=True)
class Prox:
    """``P`` of an exact pair, on tensors of any shape and float dtype; constant beyond the exact interval."""

    decomposition: Decomposition

    def __call__(self, w: Tensor) -> Tensor:
        """Evaluate ``P(w)``, of the shape and dtype of ``w``."""
        return _on_tensor(self.decomposition.prox, w)


@dataclass(frozen=True)
class Transform:
    """``T`` of an exact pair, on tensors of any shape and float dtype; its derivative is ``slope``.

    >>> import torch
    >>> import proxconnect as pc
    >>> verdict = pc.check(pc.method("bnn"), mu=2.0)
    >>> w = torch.tensor([-0.4, 0.3])
    >>> verdict.P(w), verdict.T(verdict.P(w)), verdict.T.slope(verdict.P(w))
    (tensor([-0.5000,  0.5000]), tensor([-1.,  1.]), tensor([2., 2.]))
    """

    decomposition: Decomposition

    def __call__(self, u: Tensor) -> Tensor:
        """Evaluate ``T(u)``, of the shape and dtype of ``u``; its derivative in autograd is ``T'(u)``."""
        return cast(Tensor, _Differentiable.apply(u, self))  # type: ignore[no-untyped-call]

    def slope(self, u: Tensor) -> Tensor:
        """Evaluate ``T'(u)``, of the shape and dtype of ``u``."""
        return _on_tensor(lambda array: self.decomposition.transform(array)[1], u)


class _Differentiable(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, transform: Transform) -> Tensor:
        ctx.save_for_backward(u)
        ctx.transform = transform
        return _on_tensor(lambda array: transform.decomposition.transform(array)[0], u)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (u,) = ctx.saved_tensors
        return gradients[0] * ctx.transform.slope(u), None


def _on_tensor(function: Any, argument: Tensor) -> Tensor:
    array = argument.detach().to("cpu", torch.float64).numpy()
    result = np.ascontiguousarray(function(array.reshape(-1))).reshape(array.shape)
    return torch.from_numpy(result).to(argument)
