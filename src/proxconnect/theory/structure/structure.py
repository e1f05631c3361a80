"""The structure of a pair on a domain, declared or sampled: all that the criterion needs to know."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from proxconnect.quantizers._structure import Trend
from proxconnect.theory._arrays import Array, Function
from proxconnect.theory.interval import Interval
from proxconnect.theory.structure.evidence import Evidence

_FAR = 1e6


@dataclass(frozen=True)
class Stretch:
    """An open interval on which ``F`` is continuous with one trend and ``B`` continuous with one sign.

    Args:
        start: its left end.
        end: its right end.
        trend: the trend of ``F``.
        forward: limits of ``F`` at both ends.
        sign: the sign of ``B``.
        backward: limits of ``B`` at both ends.
        constant: the one value of ``B``; None where ``B`` has several.
        identity: True if ``B = F'``, so that ``P`` may move with slope 1.
        extremes: sampled latents at which ``B`` is lowest and highest.
        rounded: True if ``F`` is flat because floats round it, as far as samples show.
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
    rounded: bool = False

    @property
    def flat(self) -> bool:
        """``F`` is constant on this stretch."""
        return self.trend == "flat"

    @property
    def unending(self) -> tuple[bool, bool]:
        """Flags of the two ends: True for an end that is infinite, or very far out beside the other."""
        left = self.start < -_FAR and self.end > self.start / _FAR
        return left, self.end > _FAR and self.start < self.end / _FAR

    def inside(self, count: int = 129) -> Array:
        """Choose points of the open interval in order, graded towards finite ends."""
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
    """The values at a latent where two stretches meet, or at a finite end of the domain."""

    at: float
    forward: float
    backward: float


@dataclass(frozen=True)
class Unknown:
    """An interval on which condition ``number`` cannot be decided, for ``reason``."""

    number: int
    start: float
    end: float
    reason: str


@dataclass(frozen=True)
class Structure:
    """A pair on a domain: stretches in order, and the points at and between their ends.

    Args:
        domain: the interval that is described.
        stretches: in order, without gaps.
        points: ``points[i]`` is the left end of ``stretches[i]`` and ``points[i + 1]`` is its right end; None
            at infinity.
        forward: ``F`` on arrays.
        backward: ``B`` on arrays.
        forward_noise: differences of ``F`` up to this mean nothing.
        backward_noise: differences of ``B`` up to this mean nothing.
        relative: differences of ``B`` below this times its values mean nothing either.
        evidence: declarations or samples.
        unknowns: intervals on which a condition cannot be decided.
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
