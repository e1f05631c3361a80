"""Elementwise maps of latent weights, each with its slope, its shape and its convex potential.

Every map takes a tensor ``w`` of any shape and float dtype and the sharpness ``mu`` (a positive number or a
zero-dimensional tensor) and returns a tensor like ``w``. Ties go up: ``sign(0) = sign(-0.0) = +1``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from proxconnect.quantizers._polyline import Polyline
from proxconnect.quantizers._potential import Everywhere, OnRange, Potential
from proxconnect.quantizers._structure import Piece, SignPiece, sign_piece

Sharpness = float | Tensor
Elementwise = Callable[[Tensor, Sharpness], Tensor]


@dataclass(frozen=True)
class ElementwiseMap:
    """A map ``w -> value(w, mu)`` with its derivative ``slope(w, mu)`` with respect to ``w``.

    Both are elementwise: they take a tensor of any shape and float dtype, and return a tensor like it. At a
    kink the slope is the one that the method of the map uses; at a jump it is 0.

    Args:
        name: the name of the map in tables and reports.
        value: the map itself.
        slope: its derivative.
        pieces: the shape at a given ``mu``, in order from ``-inf`` to ``inf``; None if it is not declared.
        potential: ``R``, the convex function with ``min R = 0`` such that ``P`` selects from the inverse of
            its subdifferential; given as a formula for float64 inside the closed hull of the range. The
            attribute of the map is ``+inf`` outside the hull. It is finite at all values of the map, which
            may lie beyond an end by rounding. If the map is not monotone, ``P`` is its monotone part around
            0, continued by constants.
        conjugate: ``R*``, the integral of ``P`` from 0. Both attributes compute in float64 and return a
            tensor like their argument.
        formula: the value in the notation of the papers.
        source: the paper that the map comes from.
        argmin: the minimisation over ``z`` that the map solves.
        limits: the limits of the map as ``mu`` goes to 0 and to infinity, at every ``w`` where the limit is
            continuous; empty if ``mu`` is ignored.

    >>> import torch
    >>> hard_tanh(torch.tensor([-2.0, 0.25, 2.0]), mu=2.0)
    tensor([-1.0000,  0.5000,  1.0000])
    >>> hard_tanh.slope(torch.tensor([-2.0, 0.25, 2.0]), mu=2.0)
    tensor([0., 2., 0.])
    >>> [(piece.start, piece.end, piece.trend) for piece in hard_tanh.pieces(2.0)]
    [(-inf, -0.5, 'flat'), (-0.5, 0.5, 'rising'), (0.5, inf, 'flat')]
    >>> hard_tanh.potential(torch.tensor([0.5, 1.5]), 2.0), hard_tanh.conjugate(torch.tensor([0.5, 1.5]), 2.0)
    (tensor([0.0625,    inf]), tensor([0.2500, 1.2500]))
    """

    name: str
    value: Elementwise
    slope: Elementwise
    pieces: Callable[[float], tuple[Piece, ...]] | None = None
    potential: Potential | None = None
    conjugate: Potential | None = None
    formula: str = ""
    source: str = ""
    argmin: str = ""
    limits: tuple[str, str] | tuple[()] = ()

    def __post_init__(self) -> None:
        if self.potential is not None and self.pieces is not None:
            object.__setattr__(self, "potential", OnRange(self.potential, self.pieces))
        if self.conjugate is not None:
            object.__setattr__(self, "conjugate", Everywhere(self.conjugate))

    def __call__(self, w: Tensor, mu: Sharpness) -> Tensor:
        """Return ``value(w, mu)``."""
        return self.value(w, fitting(mu, w.dtype))


@dataclass(frozen=True)
class Slope:
    """The slope of a map as a backward quantizer, with the declarations of the map about its shape.

    >>> import torch
    >>> backward = slope_of(hard_tanh)
    >>> backward(torch.tensor([0.25, 2.0]), 2.0)
    tensor([2., 0.])
    >>> [piece.constant for piece in backward.signs(2.0)]
    [0.0, 2.0, 0.0]
    """

    map: ElementwiseMap

    @property
    def name(self) -> str:
        """``slope of`` and the name of the map."""
        return f"slope of {self.map.name}"

    @property
    def signs(self) -> Callable[[float], tuple[SignPiece, ...]] | None:
        """Sign, constancy and limits at a given ``mu``; None if the map declares no pieces."""
        pieces = self.map.pieces
        return None if pieces is None else lambda mu: tuple(map(sign_piece, pieces(mu)))

    def value(self, w: Tensor, mu: Sharpness) -> Tensor:
        """Return ``map.slope(w, mu)``."""
        return self.map.slope(w, mu)

    def __call__(self, w: Tensor, mu: Sharpness) -> Tensor:
        """Return ``map.slope(w, mu)``."""
        return self.map.slope(w, fitting(mu, w.dtype))


def slope_of(map: ElementwiseMap) -> Slope:
    """Return the slope of ``map`` as a backward quantizer.

    >>> slope_of(sign).name
    'slope of sign'
    """
    return Slope(map)


def piecewise_linear(
    name: str,
    value: Elementwise,
    slope: Elementwise,
    polyline: Callable[[float], Polyline],
    *,
    formula: str,
    source: str,
    argmin: str = "",
    limits: tuple[str, str] | tuple[()] = (),
) -> ElementwiseMap:
    """Make a nondecreasing piecewise-linear map; its graph at a given ``mu`` yields pieces and potentials."""
    return ElementwiseMap(
        name,
        value,
        slope,
        pieces=lambda mu: polyline(mu).pieces(),
        potential=lambda z, mu: polyline(mu).inverse_integral(z),
        conjugate=lambda w, mu: polyline(mu).integral(w),
        formula=formula,
        source=source,
        argmin=argmin,
        limits=limits,
    )


def fitting(mu: Sharpness, dtype: torch.dtype) -> Sharpness:
    """Clamp the sharpness so that ``mu`` and ``1/mu`` are finite in ``dtype``, in its precision at least.

    Beyond the largest number of the dtype a map no longer changes, and ``inf * 0`` would be NaN.

    >>> fitting(1e6, torch.float16), fitting(torch.tensor(1e6), torch.float16)
    (65504.0, tensor(65504.))
    """
    most = torch.finfo(dtype).max
    if not isinstance(mu, Tensor):
        return min(max(mu, 1 / most), most)
    wide = mu.to(torch.promote_types(dtype, mu.dtype))
    return wide.clamp(1 / most, most) if torch.finfo(wide.dtype).max > most else wide


def kept_inside(values: Tensor, argument: Tensor, bound: float) -> Tensor:
    """Return ``values`` where ``|argument| < bound``, else 0.

    This takes one pass over the memory, a mask would take several.

    >>> kept_inside(torch.tensor([5.0, 6.0, 7.0]), torch.tensor([-2.0, 1.0, 2.0]), 2.0)
    tensor([0., 6., 0.])
    """
    kept: Tensor = torch.ops.aten.hardtanh_backward(values, argument, -bound, bound)
    return kept


def _identity(w: Tensor, mu: Sharpness) -> Tensor:
    return w


def _one(w: Tensor, mu: Sharpness) -> Tensor:
    return w.new_ones(()).expand_as(w)


def _sign(w: Tensor, mu: Sharpness) -> Tensor:
    # A comparison and a choice take ten times as long on a CPU.
    return torch.sign(w).add_(0.5).sign_()


def _zero(w: Tensor, mu: Sharpness) -> Tensor:
    return torch.zeros_like(w)


def _hard_tanh(w: Tensor, mu: Sharpness) -> Tensor:
    return (mu * w).clamp_(-1, 1)


def _hard_tanh_slope(w: Tensor, mu: Sharpness) -> Tensor:
    # The numbers below the successor of 1 are the numbers up to 1.
    slope = torch.as_tensor(mu, dtype=w.dtype, device=w.device).expand_as(w)
    return kept_inside(slope, mu * w, 1 + torch.finfo(w.dtype).eps)


identity = piecewise_linear(
    "identity",
    _identity,
    _one,
    lambda mu: Polyline(((0.0, 0.0),), slope_before=1.0, slope_after=1.0),
    formula="w",
    source="full precision",
    argmin="(z - w)^2 / 2",
)
"""``w``: full precision. Slope 1. ``mu`` is ignored."""

sign = piecewise_linear(
    "sign",
    _sign,
    _zero,
    lambda mu: Polyline(((0.0, -1.0), (0.0, 1.0))),
    formula="sign(w)",
    source="BinaryConnect, arXiv 1511.00363",
    argmin="(z - w)^2 / 2 over z in {-1, 1}",
)
"""``+1`` for ``w >= 0``, else ``-1``: the projector ``P_Q`` onto ``Q = {-1, +1}``.

Argmin over ``z`` in ``Q`` of ``(z - w)^2 / 2``, with ties going up. Slope 0. ``mu`` is ignored.
"""

hard_tanh = piecewise_linear(
    "hard tanh",
    _hard_tanh,
    _hard_tanh_slope,
    lambda mu: Polyline(((-1 / mu, -1.0), (1 / mu, 1.0))),
    formula="clip(mu w, -1, 1)",
    source="BNN, arXiv 1602.02830",
    argmin="(z - mu w)^2 / 2 over z in [-1, 1]",
    limits=("0", "sign(w)"),
)
"""``clip(mu w, -1, 1)``. Slope ``mu`` where ``|mu w| <= 1``, 0 beyond.

Argmin of ``(z - mu w)^2 / 2`` over ``z`` in ``[-1, 1]``. Tends to ``sign`` (0 at 0) as ``mu`` grows and to 0
as ``mu`` vanishes.
"""
