"""Potentials in the precision of float64, finite wherever a value of their map may lie.

A map computes its values in some dtype, so a value at an end of the range may lie beyond it by a few
roundings of that dtype. Such a value counts as the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from proxconnect.quantizers._structure import Piece, hull

Potential = Callable[[Tensor, float], Tensor]

ROUNDINGS = 4
"""In units of epsilon, how far beyond an end of the range the values of a map may lie."""


def into_range(z: Tensor, ends: tuple[float, float], epsilon: float) -> tuple[Tensor, Tensor]:
    """``z`` moved into the interval between ``ends``, and where it lay beyond by more than roundings.

    Args:
        z: float64 tensor.
        ends: of the closed hull of a map's range, in order; they may be infinite.
        epsilon: that of the dtype in which ``z`` was computed.

    >>> z = torch.tensor([-1.5, 0.5, 1 + 2**-23], dtype=torch.float64)
    >>> into_range(z, (-1.0, 1.0), epsilon=2**-23)
    (tensor([-1.0000,  0.5000,  1.0000], dtype=torch.float64), tensor([ True, False, False]))
    """
    low, high = ends
    slack = ROUNDINGS * epsilon * max((abs(end) for end in ends if math.isfinite(end)), default=0.0)
    return z.clamp(low, high), (z < low - slack) | (z > high + slack)


@dataclass(frozen=True)
class OnRange:
    """``R`` of a map from its formula inside the range: ``+inf`` outside, and like its argument."""

    inside: Potential
    pieces: Callable[[float], tuple[Piece, ...]]

    def __call__(self, z: Tensor, mu: float) -> Tensor:
        """``R(z)``; finite numbers that the dtype of ``z`` cannot hold are its largest."""
        number = torch.finfo(z.dtype)
        inside, outside = into_range(z.double(), hull(self.pieces(float(mu))), number.eps)
        value = self.inside(inside, float(mu)).clamp(max=number.max)
        return value.masked_fill(outside, math.inf).to(z.dtype)


@dataclass(frozen=True)
class Everywhere:
    """``R*`` of a map from its formula: computed in float64, and like its argument."""

    formula: Potential

    def __call__(self, w: Tensor, mu: float) -> Tensor:
        """``R*(w)``; finite numbers that the dtype of ``w`` cannot hold are its largest."""
        value = self.formula(w.double(), float(mu)).clamp(max=torch.finfo(w.dtype).max)
        return value.to(w.dtype)
