"""Find the exact interval around 0: a walk from 0 to either side up to the first failure."""

from __future__ import annotations

import math

import numpy as np

from proxconnect.theory.criterion._conditions import Criterion, Side
from proxconnect.theory.interval import Interval


class ExactInterval:
    """The largest interval around 0 that meets all conditions, and the kinks in it."""

    def __init__(self, criterion: Criterion) -> None:
        self.criterion = criterion
        self.structure = criterion.structure

    def kinks(self, within: Interval | None) -> tuple[float, ...]:
        """Find the latents inside ``within`` at which ``T`` has a kink."""
        found = []
        for index, point in enumerate(self.structure.points):
            left, right = self.criterion.sides(index)
            if point is None or left is None or right is None or within is None:
                continue
            joined = self.criterion.continuous(point, left) and self.criterion.continuous(point, right)
            inside = within.low < point.at < within.high
            if inside and joined and not self.criterion.same(left.backward, right.backward):
                found.append(point.at)
        return tuple(found)

    def find(self) -> Interval | None:
        """Find the largest interval around 0 that meets all conditions; None if it is unknown or empty."""
        domain = self.structure.domain
        if not self.criterion.failures and not self.criterion.unknowns:
            return domain
        if any(unknown.start <= 0 <= unknown.end for unknown in self.structure.unknowns):
            return None
        start = self._start()
        if start is None:
            return None
        low, low_closed = self._known(*self._walk(*start, high=False))
        high, high_closed = self._known(*self._walk(*start, high=True))
        apart = start[1] and bool(self.criterion.at_point[start[0]]) and low < 0 < high
        if low == high or apart:  # exact on either side of 0, but not on both together
            return Interval(0.0, 0.0, True, True)
        return Interval(low, high, low_closed, high_closed)

    def nowhere(self) -> str:
        """Say why there is no interval around 0; empty if the reason is unknown."""
        if 0.0 not in self.structure.domain:
            return "0 lies outside the domain"
        at_zero = float(self.structure.backward(np.zeros(1))[0])
        return f"B(0) = {at_zero:.6g} is negative" if at_zero < -self.structure.backward_noise else ""

    def _known(self, end: float, closed: bool) -> tuple[float, bool]:
        """Shorten a walk to where something unknown begins."""
        for unknown in self.structure.unknowns:
            if 0 < unknown.start < end:
                end, closed = unknown.start, False
            if end < unknown.end < 0:
                end, closed = unknown.end, False
        return end, closed

    def _start(self) -> tuple[int, bool] | None:
        """Find the index of the stretch around 0, or of the point at 0 (True); None if 0 is refuted."""
        lowest = -self.structure.backward_noise
        if 0.0 not in self.structure.domain or float(self.structure.backward(np.zeros(1))[0]) < lowest:
            return None
        for index, point in enumerate(self.structure.points):
            if point is not None and point.at == 0:
                return index, True
        return next(i for i, s in enumerate(self.structure.stretches) if s.start < 0 < s.end), False

    def _walk(self, index: int, at_point: bool, high: bool) -> tuple[float, bool]:
        """Walk from 0 to one side; return the end of the exact interval, and True if it is closed."""
        if at_point:
            if not self._enters(index, high):
                return 0.0, True
            index -= not high
        elif self.criterion.on_stretch[index]:
            return 0.0, True
        while True:
            stretch = self.structure.stretches[index]
            joint = index + high
            point = self.structure.points[joint]
            if point is None:
                return (math.inf if high else -math.inf), False
            blocked = any(u.start <= point.at <= u.end for u in self.structure.unknowns)
            if blocked or not self._arrives(joint, Side(stretch, high)):
                return point.at, False
            if joint == (len(self.structure.points) - 1 if high else 0):
                domain = self.structure.domain
                return point.at, domain.high_closed if high else domain.low_closed
            if self.criterion.at_point[joint] or not self._enters(joint, high):
                return point.at, True
            index += 1 if high else -1

    def _arrives(self, joint: int, side: Side) -> bool:
        """Return True if the stretch that the walk leaves can be joined with the point at its end."""
        point = self.structure.points[joint]
        assert point is not None
        if self.criterion.integrable[joint - side.high][side.high] is not True:
            return False
        if point.backward < -self.structure.backward_noise:
            return False
        if self.criterion.continuous(point, side):
            return self.criterion.end_agrees(point, side, strict=False)
        return (point.forward > side.forward) == side.high

    def _enters(self, joint: int, high: bool) -> bool:
        """Return True if the stretch beyond the point can be joined with it."""
        left, right = self.criterion.sides(joint)
        side = right if high else left
        return (
            side is not None
            and self._arrives(joint, side)
            and not self.criterion.on_stretch[joint - side.high]
        )
