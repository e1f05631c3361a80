"""The shape of a pair on a domain: what the criterion needs to know, declared or sampled alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proxconnect.quantizers._structure import Trend
from proxconnect.theory.verdict import Evidence, Interval

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Function = Callable[[Array], Array]

_FAR = 1e6


@dataclass(frozen=True)
class Stretch:
    """An open interval on which ``F`` is continuous with one trend and ``B`` continuous with one sign.

    ``constant`` is ``B``'s value where it has only one. ``identity`` says that ``B = F'``, so that ``P`` may
    move with slope 1. ``extremes`` are sampled latents at which ``B`` is lowest and highest.
    """

    start: float
    end: float
    trend: Trend
    forward: tuple[float, float]
    sign: int
    backward: tuple[float, float]
    constant: float | None = None
    identity: bool = False
    extremes: tuple[float, float] | None = None

    @property
    def flat(self) -> bool:
        """Whether ``F`` is constant here."""
        return self.trend == "flat"

    @property
    def unending(self) -> tuple[bool, bool]:
        """Which ends are infinite, or as good as that beside the rest of the stretch."""
        left = self.start < -_FAR and self.end > self.start / _FAR
        return left, self.end > _FAR and self.start < self.end / _FAR

    def inside(self, count: int = 129) -> Array:
        """Points of the open interval in order, graded towards finite ends."""
        steps = np.geomspace(1e-4, 1.0, count // 2)
        far_left, far_right = self.unending
        if far_left and far_right:
            half = 16 * steps
            return np.concatenate([-half[::-1], [0.0], half])
        if far_right:
            return self.start + max(1.0, abs(self.start)) * 16 * steps
        if far_left:
            return self.end - max(1.0, abs(self.end)) * 16 * steps[::-1]
        half = 0.5 * (self.end - self.start) * steps
        points = np.unique(np.concatenate([self.start + half, self.end - half]))
        points = points[(points > self.start) & (points < self.end)]
        return points if len(points) else np.array([self.start, self.end])


@dataclass(frozen=True)
class Point:
    """Where two stretches meet, or a finite end of the domain: the values taken there."""

    at: float
    forward: float
    backward: float


@dataclass(frozen=True)
class Unknown:
    """A place where samples cannot decide condition ``number``, and why."""

    number: int
    start: float
    end: float
    reason: str


@dataclass(frozen=True)
class Shape:
    """A pair on a domain: stretches in order, and the points at and between their ends.

    ``points[i]`` is the left end of ``stretches[i]`` and ``points[i + 1]`` its right end; None at infinity.
    Differences up to ``forward_noise`` and ``backward_noise`` mean nothing, nor do differences between values
    of ``B`` that are smaller than ``relative`` times the values.
    """

    domain: Interval
    stretches: tuple[Stretch, ...]
    points: tuple[Point | None, ...]
    forward: Function
    backward: Function
    forward_noise: float
    backward_noise: float
    relative: float
    evidence: Evidence
    unknowns: tuple[Unknown, ...] = ()
