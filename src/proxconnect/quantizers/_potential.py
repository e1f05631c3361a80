"""Potentials in the precision of float64, finite at every value of their map.

A map computes its values in some dtype, so a value may lie beyond an end of the range by a few roundings of
that dtype. Such a value counts as the end of the range.
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
"""The largest distance of a value of a map from the range, in units of epsilon."""


def into_range(z: Tensor, ends: tuple[float, float], epsilon: float) -> tuple[Tensor, Tensor]:
    """Clamp ``z`` to the interval between ``ends``, and tell where it lay outside by more than roundings.

    Args:
        z: float64 tensor.
        ends: ends of the closed hull of a map's range, in order; they may be infinite.
        epsilon: machine epsilon of the dtype in which ``z`` was computed.

    Returns:
        The clamped tensor, and a bool tensor that is True where ``z`` lay outside.

    >>> z = torch.tensor([-1.5, 0.5, 1 + 2**-23], dtype=torch.float64)
    >>> into_range(z, (-1.0, 1.0), epsilon=2**-23)
    (tensor([-1.0000,  0.5000,  1.0000], dtype=torch.float64), tensor([ True, False, False]))
    """
    low, high = ends
    slack = ROUNDINGS * epsilon * max((abs(end) for end in ends if math.isfinite(end)), default=0.0)
    return z.clamp(low, high), (z < low - slack) | (z > high + slack)


@dataclass(frozen=True)
class OnRange:
    """The potential ``R`` of a map, made from its formula inside the range.

    ``R`` is ``+inf`` outside the range, and has the dtype of its argument.
    """

    inside: Potential
    pieces: Callable[[float], tuple[Piece, ...]]

    def __call__(self, z: Tensor, mu: float) -> Tensor:
        """Compute ``R(z)``; a finite result beyond the dtype of ``z`` becomes its largest number."""
        number = torch.finfo(z.dtype)
        inside, outside = into_range(z.double(), hull(self.pieces(float(mu))), number.eps)
        value = self.inside(inside, float(mu)).clamp(max=number.max)
        return value.masked_fill(outside, math.inf).to(z.dtype)


@dataclass(frozen=True)
class Everywhere:
    """The conjugate ``R*`` of a map, made from its formula: computed in float64, in the argument's dtype."""

    formula: Potential

    def __call__(self, w: Tensor, mu: float) -> Tensor:
        """Compute ``R*(w)``; a finite result beyond the dtype of ``w`` becomes its largest number."""
        value = self.formula(w.double(), float(mu)).clamp(max=torch.finfo(w.dtype).max)
        return value.to(w.dtype)
