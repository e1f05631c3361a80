"""Apply the four conditions to the structure of a pair.

A failure lies on a stretch or at a point. On a stretch, two of its latents refute the condition. At a point,
the two sides cannot be joined.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from proxconnect.theory.criterion._integrability import integrable
from proxconnect.theory.criterion.verdict import Condition, Witness
from proxconnect.theory.interval import Interval
from proxconnect.theory.structure.structure import Point, Stretch, Structure, Unknown


@dataclass(frozen=True)
class Failure:
    """A failure of a condition; ``monotone_only`` if a ``T`` that may also fall is compatible with it."""

    number: int
    where: Interval
    reason: str
    latents: tuple[float, ...]
    monotone_only: bool = False


@dataclass(frozen=True)
class Side:
    """One side of a point: the stretch there; ``high`` if the point is its upper end."""

    stretch: Stretch
    high: bool

    @property
    def forward(self) -> float:
        """Limit of ``F`` at the point."""
        return self.stretch.forward[self.high]

    @property
    def backward(self) -> float:
        """Limit of ``B`` at the point."""
        return self.stretch.backward[self.high]


class Criterion:
    """The four conditions for one structure."""

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        self.on_stretch = [list(self._of_stretch(stretch)) for stretch in structure.stretches]
        self.integrable = [
            tuple(integrable(structure, stretch, high) for high in (False, True))
            for stretch in structure.stretches
        ]
        self.at_point = [list(self._of_point(index)) for index in range(len(structure.points))]

    @cached_property
    def failures(self) -> list[Failure]:
        """All failures, on stretches and at points."""
        return [failure for found in (*self.on_stretch, *self.at_point) for failure in found]

    @cached_property
    def unknowns(self) -> list[Unknown]:
        """Intervals on which a condition can neither be proved nor refuted."""
        ends = [
            Unknown(2, end, end, "whether dF/B can be integrated next to this zero of B cannot be resolved")
            for stretch, results in zip(self.structure.stretches, self.integrable, strict=True)
            for end, result in zip((stretch.start, stretch.end), results, strict=True)
            if result is None
        ]
        return [*self.structure.unknowns, *ends]

    def conditions(self) -> tuple[Condition, ...]:
        """Decide the four conditions, each with the failure nearest to 0."""
        return tuple(self._condition(number) for number in (1, 2, 3, 4))

    def _condition(self, number: int) -> Condition:
        failures = [failure for failure in self.failures if failure.number == number]
        if failures:
            worst = min(failures, key=lambda failure: _distance(failure.where))
            return Condition(number, "fails", worst.where, worst.reason, self._witness(*worst.latents))
        for unknown in self.unknowns:
            if unknown.number == number:
                where = Interval(unknown.start, unknown.end, True, True)
                return Condition(number, "unknown", where, unknown.reason)
        return Condition(number, "holds")

    def decomposes(self) -> bool | None:
        """Decide if the pair decomposes with a ``T`` that need not be monotone; None if that is unknown."""
        if any(not failure.monotone_only for failure in self.failures):
            return False
        return None if self.unknowns else True

    def _witness(self, *latents: float) -> Witness:
        w = np.array(latents, dtype=np.float64)
        forward, backward = self.structure.forward(w), self.structure.backward(w)
        return Witness(latents, tuple(map(float, forward)), tuple(map(float, backward)))

    def _of_stretch(self, s: Stretch) -> Iterator[Failure]:
        where = Interval(s.start, s.end, False, False)
        if s.flat:
            if s.constant is None and not s.rounded:
                yield Failure(3, where, "F is flat but B varies", tuple(sorted(self._extremes(s))))
            if s.sign < 0 or (s.constant is not None and s.constant < 0):
                lowest = self._extremes(s)[:1]
                yield Failure(2, where, "B is negative", lowest, monotone_only=s.constant is not None)
            return
        falling = s.trend == "falling"
        inside = s.inside(33)
        pair = (float(inside[0]), float(inside[-1]))
        matched = s.sign == (-1 if falling else 1)
        if falling:
            yield Failure(1, where, "F decreases", pair, monotone_only=matched)
        if s.sign == 0:
            yield Failure(2, where, f"F {'falls' if falling else 'grows'} where B = 0", pair)
        elif s.sign < 0:
            yield Failure(2, where, "B is negative", self._extremes(s)[:1], monotone_only=matched)
        elif falling:
            yield Failure(2, where, "F decreases where B is positive", pair)
        for high in (False, True):
            end = s.end if high else s.start
            if math.isfinite(end) and math.isinf(s.backward[high]):
                at = Interval(end, end, True, True)
                yield Failure(4, at, "B has no finite limit", (_beside(Side(s, high)),))

    def _extremes(self, s: Stretch) -> tuple[float, float]:
        """Find latents at which ``B`` is lowest and highest."""
        if s.extremes is not None:
            return s.extremes
        points = s.inside()
        values = self.structure.backward(points)
        return float(points[np.argmin(values)]), float(points[np.argmax(values)])

    def sides(self, index: int) -> tuple[Side | None, Side | None]:
        """Return the stretches that meet at a point; None beyond the ends."""
        stretches = self.structure.stretches
        left = Side(stretches[index - 1], high=True) if index else None
        right = Side(stretches[index], high=False) if index < len(stretches) else None
        return left, right

    def _of_point(self, index: int) -> Iterator[Failure]:
        point = self.structure.points[index]
        if point is None:
            return
        where = Interval(point.at, point.at, True, True)
        left, right = self.sides(index)
        sides = [side for side in (left, right) if side is not None]
        if point.backward < -self.structure.backward_noise and not any(s.stretch.sign < 0 for s in sides):
            yield Failure(2, where, "B is negative", (point.at,))
            return
        for side in sides:
            if self.integrable[index - side.high][side.high] is False:
                latents = tuple(sorted((_beside(side), point.at)))
                yield Failure(2, where, "dF/B cannot be integrated next to this point", latents)
        for side in sides:
            step = (point.forward - side.forward) * (1 if side.high else -1)
            if step < -self.structure.forward_noise:
                latents = tuple(sorted((_beside(side), point.at)))
                yield Failure(1, where, "F jumps down", latents, monotone_only=True)
        yield from self._of_joint(point, where, left, right)

    def _of_joint(
        self, point: Point, where: Interval, left: Side | None, right: Side | None
    ) -> Iterator[Failure]:
        """Find flats on which ``B`` is not constant up to the end, and values of ``B`` off its limits."""
        touching = [s for s in (left, right) if s is not None and self.continuous(point, s)]
        constants = [s.stretch.constant for s in touching if s.stretch.flat]
        if any(constant is None for constant in constants):
            return  # reported on the stretch
        if len(touching) == 2 and (len(constants) == 2 or any(constants)):
            values = [touching[0].backward, point.backward, touching[1].backward]
            # Where F is flat by rounding alone, B may have a kink. But where B is 0, F must be constant.
            rounded = all(s.stretch.rounded for s in touching) and min(values) > 0
            if not rounded and not self.same(*values):
                latents = (_beside(touching[0]), point.at, _beside(touching[1]))
                yield Failure(3, where, "B changes on a flat of F or where F leaves it continuously", latents)
        elif len(touching) == 2:
            low, high = sorted((touching[0].backward, touching[1].backward))
            noise = self._noise(low, high)
            if not low - noise <= point.backward <= high + noise:
                reason = "B lies outside its one-sided limits"
                yield Failure(4, where, reason, (point.at,))
        elif len(touching) == 1 and not self.end_agrees(point, touching[0], strict=None not in (left, right)):
            number, reason = (
                (4, "F jumps and B is not its limit from the side that F takes")
                if None not in (left, right)
                else (3, "B changes at the end of a flat of F")
            )
            yield Failure(number, where, reason, (point.at,))

    def continuous(self, point: Point, side: Side) -> bool:
        """Return True if ``F`` is continuous at a point from one side."""
        return abs(point.forward - side.forward) <= self.structure.forward_noise

    def same(self, *values: float) -> bool:
        """Return True if values of ``B`` differ by no more than noise."""
        return max(values) - min(values) <= self._noise(*values)

    def _noise(self, *values: float) -> float:
        return self.structure.backward_noise + self.structure.relative * max(map(abs, values))

    def end_agrees(self, point: Point, side: Side, strict: bool) -> bool:
        """Return True if ``B`` at a point fits the stretch beside it; ``strict`` forbids a kink there."""
        if strict or (side.stretch.flat and side.stretch.constant):
            return self.same(point.backward, side.backward)
        return True


def _beside(side: Side) -> float:
    """Choose a latent of the stretch near the point."""
    return float(side.stretch.inside()[-1 if side.high else 0])


def _distance(where: Interval) -> float:
    return 0.0 if where.low <= 0 <= where.high else min(abs(where.low), abs(where.high))
