"""Integrate and invert a nondecreasing function in float64, for maps that declare no closed form."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.polynomial.legendre import Legendre, leggauss
from torch import Tensor

from proxconnect.theory._cells import sums_from

Function = Callable[[Tensor], Tensor]

REACH = 1e30
"""Distance from 0 at which a value counts as the limit at infinity."""

Rule = tuple[Tensor, Tensor]


def _lobatto(count: int) -> Rule:
    """Compute the nodes and weights of Lobatto's rule on ``[-1, 1]``; both ends are nodes."""
    highest = Legendre.basis(count - 1)
    nodes = np.concatenate([[-1.0], np.sort(highest.deriv().roots()), [1.0]])
    return torch.from_numpy(nodes), torch.from_numpy(2 / (count * (count - 1) * highest(nodes) ** 2))


# The first rule has both ends as nodes, so that it catches a change of the function near one end alone.
_WITH_ENDS = _lobatto(10)
_INSIDE = torch.from_numpy(leggauss(10)[0]), torch.from_numpy(leggauss(10)[1])
# Intervals are not split in the middle, where both estimates would agree on a jump close by.
_SPLIT = 0.4375
_RELATIVE_ERROR = 1e-15
_SPLITS = 2000  # enough to go from the largest float64 number to the smallest


def integral(function: Function, w: Tensor, breaks: Iterable[float] = ()) -> Tensor:
    """Compute ``int_0^w function``, elementwise, by adaptive Gauss quadrature.

    Args:
        function: nondecreasing, elementwise on float64 tensors; jumps and kinks may be anywhere.
        w: finite float64 tensor of any shape.
        breaks: known jumps and kinks; they need not be found again by bisection.
    """
    ends = w.flatten()
    farthest = float(ends.abs().max()) if ends.numel() else 0.0
    # The knots are graded, so that no wide segment steps over a transition near 0.
    graded = 2.0 ** torch.arange(-50, 100, dtype=torch.float64, device="cpu")
    known = torch.tensor([0.0, *breaks], dtype=torch.float64, device="cpu")
    knots = torch.cat([known, graded, -graded])
    knots = torch.cat(
        [knots[knots.abs() <= farthest], ends, torch.zeros(1, dtype=torch.float64, device="cpu")]
    ).unique()
    zero = int(torch.searchsorted(knots, 0.0))
    start, end = knots[:-1], knots[1:]
    # Errors are relative to the whole integral from 0, because values near a zero of the function are noise.
    sizes = sums_from(zero, _estimate(_WITH_ENDS, lambda x: function(x).abs(), start, end)).abs()
    allowed = _RELATIVE_ERROR * torch.maximum(sizes[:-1], sizes[1:])
    sums = sums_from(zero, _segments(function, start, end, allowed))
    return sums[torch.searchsorted(knots, ends)].reshape(w.shape)


def _segments(function: Function, start: Tensor, end: Tensor, allowed: Tensor) -> Tensor:
    """Integrate over the intervals ``[start, end]``; split an interval until both estimates agree."""
    total = torch.zeros_like(start)
    owner = torch.arange(len(start), dtype=torch.int64, device=start.device)
    most = 4 * len(start) + 10_000
    for _ in range(_SPLITS):
        middle = start + _SPLIT * (end - start)
        whole = _estimate(_WITH_ENDS, function, start, end)
        split = _estimate(_INSIDE, function, start, middle) + _estimate(_INSIDE, function, middle, end)
        settled = (whole - split).abs() <= allowed[owner]
        settled |= (middle <= start) | (middle >= end)
        if 2 * int((~settled).sum()) > most:  # rounding errors of the function exceed the allowed error
            settled[:] = True
        total.index_add_(0, owner[settled], split[settled])
        start, middle, end, owner = (x[~settled] for x in (start, middle, end, owner))
        if not len(owner):
            break
        start, end, owner = torch.cat([start, middle]), torch.cat([middle, end]), owner.repeat(2)
    return total


def _estimate(rule: Rule, function: Function, start: Tensor, end: Tensor) -> Tensor:
    nodes, weights = rule
    half = (end - start) / 2
    points = torch.minimum(start[:, None] + half[:, None] * (1 + nodes), end[:, None])
    return half * (function(points) @ weights)


@dataclass(frozen=True)
class Inverse:
    """A point ``w`` of ``P^-1(z)`` and the values of ``P`` just below and above it.

    ``inside`` is False where ``z`` lies outside the closed hull of the range. In a gap of the range ``w`` is
    the place of the jump, and ``low < z < high``.
    """

    w: Tensor
    low: Tensor
    high: Tensor
    inside: Tensor


def inverse(function: Function, z: Tensor) -> Inverse:
    """Find where a nondecreasing ``function`` reaches ``z``, to adjacent float64 numbers, by bisection.

    On a flat the result is the end nearer to 0, because the other may be infinite.
    """
    far = torch.full_like(z, REACH)
    bottom, top = function(-far), function(far)
    upward = z >= function(torch.zeros_like(z))
    low, high = torch.where(upward, 0, _rank(-far)), torch.where(upward, _rank(far), 0)
    for _ in range(64):
        # This halves the count of float64 numbers between both ends, whatever their sizes.
        middle = low // 2 + high // 2 + (low % 2 + high % 2) // 2
        values = function(_unrank(middle))
        above = torch.where(upward, values >= z, values > z)
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    below, beyond = _unrank(low), _unrank(high)
    return Inverse(
        torch.where(upward, beyond, below),
        function(below),
        function(beyond),
        (z >= bottom) & (z <= top),
    )


def _rank(x: Tensor) -> Tensor:
    """Count the float64 numbers from 0 to ``x``."""
    bits = x.view(torch.int64)
    return torch.where(bits < 0, -(bits & 0x7FFF_FFFF_FFFF_FFFF), bits)


def _unrank(rank: Tensor) -> Tensor:
    magnitude = rank.abs().view(torch.float64)
    return torch.where(rank < 0, -magnitude, magnitude)
