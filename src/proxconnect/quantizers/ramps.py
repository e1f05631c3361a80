"""Ramps between the levels of a quantization set ``Q`` that steepen to jumps: PC's ``L`` and PARQ.

Each function returns the map for one set, by default ``{-1, 1}``; equal arguments return the same map.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache

import torch
from torch import Tensor

from proxconnect.errors import ProxConnectError
from proxconnect.quantizers._levels import BIPOLAR, Levels, checked_levels, choose, gaps, written
from proxconnect.quantizers._polyline import Point, Polyline
from proxconnect.quantizers.maps import ElementwiseMap, Sharpness, piecewise_linear, sign
from proxconnect.quantizers.proximal import projector


def linear_quantizer(
    levels: Iterable[float] = BIPOLAR, rho: float | None = None, varrho: float = 0.0
) -> ElementwiseMap:
    """Return the map ``L(rho, varrho)``: ramps of width ``rho``, joined by pieces that rise by ``varrho``.

    Around the middle of each gap a ramp of width ``rho`` rises by the gap less ``varrho``. Around each level
    a straight piece of rise ``varrho`` joins the ramps; at an outer level its rise is ``varrho/2``. Beyond
    the outer levels the map is constant.

    For ``{-1, 1}`` and ``varrho = 0`` this is ``clip(2 w / rho, -1, 1)``. For ``rho = varrho = 0`` it is the
    projector. If levels are evenly spaced and ``rho + varrho`` is their gap, it is the identity between the
    outer levels. The value is the argmin of ``r(z) + (z - w)^2 / 2`` with ``r(z) = R(z) - z^2 / 2``, where
    ``R`` is the map's ``potential``; ``r`` is not convex in general.

    Source: ProxConnect (arXiv 2110.13220).

    Args:
        levels: the set ``Q``.
        rho: width of the ramps. None takes the width from ``mu``: the smallest gap divided by ``mu``, at most
            the smallest gap less ``varrho``. Then the map does not change below ``mu = 1``, and for
            ``varrho = 0`` it tends to the projector onto ``Q`` as ``mu`` grows.
        varrho: height of the pieces that join the ramps.

    Raises:
        ProxConnectError: ``levels`` is no quantization set, a width is negative, or ``rho + varrho`` is
            larger than the smallest gap.

    >>> import torch
    >>> linear_quantizer()(torch.tensor([-0.75, 0.25, 1.0]), mu=2.0)
    tensor([-1.0000,  0.5000,  1.0000])
    >>> linear_quantizer((-1, 0, 1), rho=0.5, varrho=0.25)(torch.tensor([0.125, 0.5, 0.625]), mu=1.0)
    tensor([0.0625, 0.5000, 0.6875])
    """
    levels = checked_levels(levels)
    room = 2 * min(gap.half for gap in gaps(levels))
    # Sums of decimal fractions such as 0.1 + 0.2 may exceed the gap by their rounding.
    widths = (0.0 if rho is None else rho, varrho)
    if not min(widths) >= 0 or not sum(widths) <= room * (1 + 1e-12):
        raise ProxConnectError(
            f"rho and varrho must not be negative nor add up to more than {room:g}, the smallest gap of "
            f"{written(levels)}, but are {rho} and {varrho}"
        )
    if rho is None and varrho >= room:
        rho = 0.0  # there is no room for ramps at any mu
    if rho == varrho == 0:
        return projector(levels)
    return _linear_quantizer(levels, None if rho is None else float(rho), float(varrho))


@cache
def _linear_quantizer(levels: Levels, rho: float | None, varrho: float) -> ElementwiseMap:
    between = gaps(levels)
    room = 2 * min(gap.half for gap in between)
    middles = [gap.middle for gap in between]

    def half_ramp(mu: Sharpness) -> Sharpness:
        if rho is not None:
            return rho / 2
        widest = (room - varrho) / 2
        half = room / 2 / mu
        return half.clamp(max=widest) if isinstance(half, Tensor) else min(half, widest)

    def joins(ramp: Sharpness) -> list[tuple[Sharpness, Sharpness, float]]:
        """List start, end and rise of the piece around each level."""
        starts = [levels[0], *(middle + ramp for middle in middles)]
        ends = [*(middle - ramp for middle in middles), levels[-1]]
        rises = [varrho / 2, *(varrho for _ in middles[1:]), varrho / 2]
        return list(zip(starts, ends, rises, strict=True)) if varrho else []

    def value(w: Tensor, mu: Sharpness) -> Tensor:
        # Each piece adds up to half its rise, up or down, to the middle of the range: small values of odd
        # maps keep their relative precision.
        ramp = half_ramp(mu)
        quantized = torch.full_like(w, (levels[0] + levels[-1]) / 2)
        for gap in between:
            x = w - gap.middle
            step = x.div_(ramp).clamp_(-1, 1) if rho != 0 else sign(x, mu)
            quantized += step.mul_(gap.half - varrho / 2)
        for start, end, rise in joins(ramp):
            quantized += rise / 2 * ((w - (start + end) / 2) / ((end - start) / 2)).clamp(-1, 1)
        return quantized.clamp_(levels[0], levels[-1])

    def slope(w: Tensor, mu: Sharpness) -> Tensor:
        ramp, steepness = half_ramp(mu), torch.zeros_like(w)
        for start, end, rise in joins(ramp):
            steepness = torch.where((w >= start) & (w <= end), rise / (end - start), steepness)
        for gap in between if rho != 0 else []:
            steep = (gap.half - varrho / 2) / ramp
            steepness = torch.where((w - gap.middle).abs() <= ramp, steep, steepness)
        return steepness

    def graph(mu: float) -> Polyline:
        points: list[Point] = [(levels[0], levels[0])]
        for gap in between:
            # Counted from the levels: a ramp as wide as the gap ends exactly at the levels.
            margin = gap.half - float(half_ramp(mu))
            points += [(gap.low + margin, gap.low + varrho / 2), (gap.high - margin, gap.high - varrho / 2)]
        return Polyline((*points, (levels[-1], levels[-1])))

    width = f"{room:g}/mu" if rho is None else f"{rho:g}"
    return piecewise_linear(
        f"L({width}, {varrho:g}) on {written(levels)}",
        value,
        slope,
        graph,
        formula=f"L(rho, varrho) with rho = {width}, varrho = {varrho:g}",
        source="ProxConnect, arXiv 2110.13220",
        argmin="r(z) + (z - w)^2 / 2 with r(z) = R(z) - z^2 / 2, nonconvex in general",
        limits=(f"L({room - varrho:g}, {varrho:g})", f"L(0, {varrho:g})") if rho is None else (),
    )


def parq(levels: Iterable[float] = BIPOLAR) -> ElementwiseMap:
    """Return the map ``clip(c + mu (w - c), q_lo, q_hi)``, where ``c`` is the middle of the gap around ``w``.

    The value is the argmin of ``(z - c)^2 / (2 mu) - (w - c) (z - c)`` over ``z`` in the gap
    ``[q_lo, q_hi]``. The map is the identity between the outer levels at ``mu = 1``, and tends to the
    projector as ``mu`` grows. ``mu`` is ``1/s``, the inverse of PARQ's slope parameter, which falls from 1
    to 0.

    The 1-bit levels of the paper are ``+-v`` with ``v = mean |w*|``. A map of single weights cannot know this
    mean. In the normalised units of this library ``v`` is 1, and the scale of the layer, the mean ``|w*|``,
    multiplies the result.

    Source: PARQ (arXiv 2503.15748).

    Args:
        levels: the set ``Q``.

    Raises:
        ProxConnectError: ``levels`` is not at least two finite numbers in increasing order.

    >>> import torch
    >>> parq((-1, 0, 1))(torch.tensor([0.125, 0.5, 0.625]), mu=2.0)
    tensor([0.0000, 0.5000, 0.7500])
    """
    return _parq(checked_levels(levels))


@cache
def _parq(levels: Levels) -> ElementwiseMap:
    between = gaps(levels)

    def in_its_gap(w: Tensor, numbers: list[float]) -> Tensor:
        return choose(w, levels[1:-1], numbers)

    def value(w: Tensor, mu: Sharpness) -> Tensor:
        middle = in_its_gap(w, [gap.middle for gap in between])
        low, high = in_its_gap(w, [gap.low for gap in between]), in_its_gap(w, [gap.high for gap in between])
        return (w - middle).mul_(mu).add_(middle).clamp_(low, high)

    def slope(w: Tensor, mu: Sharpness) -> Tensor:
        middle = in_its_gap(w, [gap.middle for gap in between])
        half = in_its_gap(w, [gap.half for gap in between])
        return mu * ((mu * (w - middle)).abs() <= half).to(w.dtype)

    def graph(mu: float) -> Polyline:
        points: list[Point] = []
        for gap in between:
            left = -math.inf if gap.low == levels[0] else gap.low
            right = math.inf if gap.high == levels[-1] else gap.high
            start, end, reach = gap.middle - gap.half / mu, gap.middle + gap.half / mu, mu * gap.half
            points.append((start, gap.low) if start >= left else (left, gap.middle - reach))
            points.append((end, gap.high) if end <= right else (right, gap.middle + reach))
        return Polyline(tuple(points))

    return piecewise_linear(
        f"PARQ on {written(levels)}",
        value,
        slope,
        graph,
        formula="clip(c + mu (w - c), q_lo, q_hi)",
        source="PARQ, arXiv 2503.15748",
        argmin="(z - c)^2 / (2 mu) - (w - c) (z - c) over z in [q_lo, q_hi]",
        limits=("c", "P_Q(w)"),
    )
