"""Nondecreasing piecewise-linear graphs: their pieces, their integrals and those of their inverses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from proxconnect.quantizers._structure import Piece, Trend

Point = tuple[float, float]


@dataclass(frozen=True)
class Polyline:
    """A nondecreasing graph through ``points``, with rays of the given slopes before and after them.

    Two points that share ``x`` make a jump. If a proximal map ``P`` has this graph, then ``R*`` is the
    integral of the graph and ``R`` is the integral of the inverse graph. In the inverse graph flats are
    jumps, jumps are flats, and a horizontal ray is a vertical one, beyond which the integral is infinite.
    """

    points: tuple[Point, ...]
    slope_before: float = 0.0
    slope_after: float = 0.0

    def pieces(self) -> tuple[Piece, ...]:
        """Split the graph into maximal linear pieces."""
        (first_x, first_y), (last_x, last_y) = self.points[0], self.points[-1]
        far_left = -math.inf if self.slope_before else first_y
        far_right = math.inf if self.slope_after else last_y
        lines = [_line(-math.inf, first_x, far_left, first_y, self.slope_before)]
        for (x0, y0), (x1, y1) in pairwise(self.points):
            if x1 > x0:
                lines.append(_line(x0, x1, y0, y1, (y1 - y0) / (x1 - x0)))
        lines.append(_line(last_x, math.inf, last_y, far_right, self.slope_after))
        merged = lines[:1]
        for line in lines[1:]:
            last = merged[-1]
            if _continues(last, line):
                merged[-1] = _line(last.start, line.end, last.start_value, line.end_value, last.start_slope)
            else:
                merged.append(line)
        return tuple(merged)

    def integral(self, argument: Tensor) -> Tensor:
        """Integrate the graph from 0 to ``argument``."""
        return self._integral_from(0.0, argument)

    def inverse_integral(self, argument: Tensor) -> Tensor:
        """Integrate the inverse graph; the constant is such that the smallest value is 0."""
        inverse = Polyline(
            tuple((y, x) for x, y in self.points),
            1 / self.slope_before if self.slope_before else math.inf,
            1 / self.slope_after if self.slope_after else math.inf,
        )
        return inverse._integral_from(self._value(0.0), argument)

    def _value(self, x: float) -> float:
        """Return the value of the graph at ``x``; at a jump, one of the values there."""
        (first_x, first_y), (last_x, last_y) = self.points[0], self.points[-1]
        if x <= first_x:
            return first_y + self.slope_before * (x - first_x)
        if x >= last_x:
            return last_y + self.slope_after * (x - last_x)
        (x0, y0), (x1, y1) = next(segment for segment in pairwise(self.points) if x < segment[1][0])
        return y0 + (y1 - y0) * ((x - x0) / (x1 - x0))

    def _integral_from(self, anchor: float, argument: Tensor) -> Tensor:
        points = self.points
        if all(x != anchor for x, _ in points):
            points = tuple(sorted((*points, (anchor, self._value(anchor)))))
        right = [point for point in points if point[0] >= anchor]
        left = [(-x, -y) for x, y in reversed(points) if x <= anchor]
        return _covered(right, self.slope_after, argument) + _covered(left, self.slope_before, -argument)


def _line(start: float, end: float, start_value: float, end_value: float, slope: float) -> Piece:
    trend: Trend = "rising" if slope > 0 else "flat"
    return Piece(start, end, trend, start_value, end_value, True, slope, slope)


def _continues(last: Piece, line: Piece) -> bool:
    # The slopes are quotients of rounded differences: 1e-9 tells rounding from a kink.
    return last.end_value == line.start_value and math.isclose(last.end_slope, line.start_slope, rel_tol=1e-9)


def _covered(points: list[Point], slope_after: float, argument: Tensor) -> Tensor:
    """Integrate from the first point rightwards to ``argument``; 0 where ``argument`` lies to the left.

    Each segment adds the integral over its part left of ``argument``. No term is subtracted again, so small
    integrals keep their relative precision.
    """
    total = torch.zeros_like(argument)
    for (x0, y0), (x1, y1) in pairwise(points):
        if x1 > x0:
            way = argument.clamp(x0, x1) - x0
            total = total + way * (y0 + (y1 - y0) / (x1 - x0) / 2 * way)
    x, y = points[-1]
    way = argument.clamp(min=x) - x
    if slope_after == math.inf:
        return total.where(way == 0, math.inf)
    if slope_after:
        return total + way * (y + slope_after / 2 * way)
    return total + way * y if y else total
