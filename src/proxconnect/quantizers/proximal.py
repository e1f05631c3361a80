"""Proximal maps of the distance to a quantization set ``Q``, any finite sorted set of levels.

Each function returns the map for one set, by default ``{-1, 1}``; equal arguments return the same map.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache

import torch
from torch import Tensor

from proxconnect.quantizers._levels import (
    BIPOLAR,
    Levels,
    checked_levels,
    gaps,
    nearest,
    written,
)
from proxconnect.quantizers._polyline import Point, Polyline
from proxconnect.quantizers.maps import ElementwiseMap, Sharpness, piecewise_linear, sign


def projector(levels: Iterable[float] = BIPOLAR) -> ElementwiseMap:
    """Return the projector ``P_Q`` onto the nearest level, ties going up; for ``{-1, 1}`` it is ``sign``.

    ``P_Q(w)`` is the argmin of ``(z - w)^2 / 2`` over ``z`` in ``Q``. The slope is 0, and ``mu`` is ignored.

    Source: BinaryConnect (arXiv 1511.00363).

    Args:
        levels: the set ``Q``.

    Raises:
        ProxConnectError: ``levels`` is not at least two finite numbers in increasing order.

    >>> import torch
    >>> projector((-1, 0, 1))(torch.tensor([-0.6, -0.5, 0.4, 7.0]), mu=1.0)
    tensor([-1.,  0.,  0.,  1.])
    """
    return _projector(checked_levels(levels))


@cache
def _projector(levels: Levels) -> ElementwiseMap:
    if levels == BIPOLAR:
        return sign
    graph = Polyline(tuple((gap.middle, level) for gap in gaps(levels) for level in gap))
    return piecewise_linear(
        f"projector onto {written(levels)}",
        lambda w, mu: nearest(w, levels),
        lambda w, mu: torch.zeros_like(w),
        lambda mu: graph,
        formula=f"the nearest of {written(levels)}",
        source=sign.source,
        argmin=f"(z - w)^2 / 2 over z in {written(levels)}",
    )


def binary_relax(levels: Iterable[float] = BIPOLAR) -> ElementwiseMap:
    """Return the map ``(w + mu P_Q(w)) / (1 + mu)``, which goes part of the way to the nearest level.

    Its value is the argmin of ``(z - w)^2 / 2 + (mu/2) dist^2(z, Q)``, its slope is ``1 / (1 + mu)``. The map
    tends to the projector as ``mu`` grows and to the identity as ``mu`` vanishes.

    Source: BinaryRelax (arXiv 1801.06313), whose ``lambda`` is ``mu``.

    Args:
        levels: the set ``Q``.

    Raises:
        ProxConnectError: ``levels`` is not at least two finite numbers in increasing order.

    >>> import torch
    >>> binary_relax()(torch.tensor([-3.0, 0.0, 0.5]), mu=1.0)
    tensor([-2.0000,  0.5000,  0.7500])
    """
    return _binary_relax(checked_levels(levels))


@cache
def _binary_relax(levels: Levels) -> ElementwiseMap:
    nearest_level = _projector(levels)

    def value(w: Tensor, mu: Sharpness) -> Tensor:
        # The numerator of (w + mu q) / (1 + mu) would overflow for large w and mu.
        q = nearest_level(w, mu)
        return (w - q).div_(1 + mu).add_(q)

    def graph(mu: float) -> Polyline:
        points = tuple((gap.middle, q + (gap.middle - q) / (1 + mu)) for gap in gaps(levels) for q in gap)
        return Polyline(points, slope_before=1 / (1 + mu), slope_after=1 / (1 + mu))

    return piecewise_linear(
        f"binary relax towards {written(levels)}",
        value,
        lambda w, mu: torch.ones_like(w) / (1 + mu),
        graph,
        formula="(w + mu P_Q(w)) / (1 + mu)",
        source="BinaryRelax, arXiv 1801.06313",
        argmin="(z - w)^2 / 2 + (mu/2) dist^2(z, Q)",
        limits=("w", "P_Q(w)"),
    )


def w_shaped(levels: Iterable[float] = BIPOLAR) -> ElementwiseMap:
    """Return the map ``q + S(w - q, mu)``, ``q = P_Q(w)``: by ``mu`` towards the nearest level, not past it.

    ``S`` is :data:`soft_threshold`. The value is the argmin of ``(z - w)^2 / 2 + mu dist(z, Q)``, whose
    penalty has the shape of a W for ``{-1, 1}``. The map is not idempotent. It equals the projector between
    the outer levels once ``mu`` is half the largest gap. It tends to the projector everywhere as ``mu``
    grows, and to the identity as ``mu`` vanishes.

    Source: ProxQuant (arXiv 1810.00861), whose ``lambda`` is ``mu``.

    Args:
        levels: the set ``Q``.

    Raises:
        ProxConnectError: ``levels`` is not at least two finite numbers in increasing order.

    >>> import torch
    >>> w_shaped()(torch.tensor([-3.0, 0.0, 0.5, 0.875]), mu=0.25)
    tensor([-2.7500,  0.2500,  0.7500,  1.0000])
    """
    return _w_shaped(checked_levels(levels))


@cache
def _w_shaped(levels: Levels) -> ElementwiseMap:
    def value(w: Tensor, mu: Sharpness) -> Tensor:
        q = nearest(w, levels)
        return q + _soft_threshold(w - q, mu)

    def graph(mu: float) -> Polyline:
        middles = [gap.middle for gap in gaps(levels)]
        points: list[Point] = []
        for left, q, right in zip([-math.inf, *middles], levels, [*middles, math.inf], strict=True):
            if left > -math.inf:
                points.append((left, min(left + mu, q)))
            points += [(max(left, q - mu), q), (min(right, q + mu), q)]
            if right < math.inf:
                points.append((right, max(right - mu, q)))
        return Polyline(tuple(points), slope_before=1.0, slope_after=1.0)

    return piecewise_linear(
        f"W-shaped prox towards {written(levels)}",
        value,
        lambda w, mu: _soft_threshold_slope(w - nearest(w, levels), mu),
        graph,
        formula="q + S(w - q, mu), q = P_Q(w)",
        source="ProxQuant, arXiv 1810.00861",
        argmin="(z - w)^2 / 2 + mu dist(z, Q)",
        limits=("w", "P_Q(w)"),
    )


def _soft_threshold(w: Tensor, mu: Sharpness) -> Tensor:
    return w - w.clamp(-mu, mu)  # type: ignore[arg-type]


def _soft_threshold_slope(w: Tensor, mu: Sharpness) -> Tensor:
    return (w.abs() > mu).to(w.dtype)


soft_threshold = piecewise_linear(
    "soft threshold",
    _soft_threshold,
    _soft_threshold_slope,
    lambda mu: Polyline(((-mu, 0.0), (mu, 0.0)), slope_before=1.0, slope_after=1.0),
    formula="S(w, mu) = sign(w) max(|w| - mu, 0)",
    source="the proximal map of the absolute value",
    argmin="(z - w)^2 / 2 + mu |z|",
    limits=("w", "0"),
)
"""The map ``sign(w) max(|w| - mu, 0)``, the argmin of ``(z - w)^2 / 2 + mu |z|``.

It tends to 0 as ``mu`` grows and to the identity as ``mu`` vanishes.
"""
