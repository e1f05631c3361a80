"""The quantization set ``Q``: a sorted tuple of levels, its gaps and its nearest levels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from proxconnect.errors import ProxConnectError

BIPOLAR = (-1.0, 1.0)

Levels = tuple[float, ...]


class Gap(NamedTuple):
    """The interval between two neighbouring levels."""

    low: float
    high: float

    @property
    def middle(self) -> float:
        """The point half-way between the levels."""
        return (self.low + self.high) / 2

    @property
    def half(self) -> float:
        """Half the width."""
        return (self.high - self.low) / 2


def checked_levels(levels: Iterable[float]) -> Levels:
    """Convert ``levels`` to floats; refuse them unless they are at least two, finite and increasing."""
    try:
        found = tuple(float(level) for level in levels)
    except (TypeError, ValueError):
        raise ProxConnectError(f"levels must be numbers such as (-1, 0, 1), not {levels!r}") from None
    increasing = all(low < high for low, high in pairwise(found))
    if len(found) < 2 or not increasing or not all(map(math.isfinite, found)):
        raise ProxConnectError(
            f"levels must be at least two finite numbers in increasing order, such as (-1, 0, 1), not {found}"
        )
    return found


def gaps(levels: Levels) -> list[Gap]:
    """List the gaps of the set, from left to right."""
    return [Gap(low, high) for low, high in pairwise(levels)]


def written(levels: Levels) -> str:
    """Write the set as text.

    >>> written((-1.0, 0.5))
    '{-1, 0.5}'
    """
    return "{" + ", ".join(f"{level:g}" for level in levels) + "}"


def nearest(w: Tensor, levels: Levels) -> Tensor:
    """Round to the nearest level, ties going up."""
    return choose(w, [gap.middle for gap in gaps(levels)], levels)


def choose(w: Tensor, borders: Sequence[float], values: Sequence[float]) -> Tensor:
    """Return ``values[k]`` where ``w`` lies in cell ``k``; a border belongs to the cell on its right.

    The result has the shape, dtype and device of ``w``.
    """
    chosen = w.new_full((), values[0]).expand_as(w)
    for border, value in zip(borders, values[1:], strict=True):
        chosen = torch.where(w >= border, value, chosen)
    return chosen
