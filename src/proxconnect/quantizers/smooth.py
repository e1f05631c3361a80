"""Smooth maps that never fall: tanh and the polynomial."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from proxconnect.quantizers._structure import Piece
from proxconnect.quantizers.maps import ElementwiseMap, Sharpness


def sech_squared(half: Tensor) -> Tensor:
    """Compute ``1 / cosh^2(half)`` without overflow."""
    # 4 p (1 - p) with p the logistic function of -2 |half|: 1 - tanh^2 would cancel, 1 / cosh^2 overflow.
    p = half.abs().mul_(-2).sigmoid_()
    return p.addcmul_(p, p, value=-1).mul_(4)


def _tanh_size(mu: Sharpness) -> Sharpness:
    return (1 / mu).clamp(min=1) if isinstance(mu, Tensor) else max(1 / mu, 1.0)


def _tanh(w: Tensor, mu: Sharpness) -> Tensor:
    return _tanh_size(mu) * torch.tanh(mu * w)


def _tanh_slope(w: Tensor, mu: Sharpness) -> Tensor:
    return _tanh_size(mu) * mu * sech_squared(mu * w)


def _tanh_pieces(mu: float) -> tuple[Piece, ...]:
    size = max(1 / mu, 1.0)
    return (Piece(-math.inf, math.inf, "rising", -size, size, start_slope=0.0, end_slope=0.0),)


def _tanh_potential(z: Tensor, mu: float) -> Tensor:
    size = max(1 / mu, 1.0)
    y = (z / size).abs()
    # Twice the entropy; around 0 in a form whose terms do not cancel.
    small, inside = y.clamp(max=0.5), y.clamp(max=1)
    middle = 2 * small * torch.atanh(small) + torch.log1p(-(small**2))
    outer = torch.xlogy(1 + inside, 1 + inside) + torch.xlogy(1 - inside, 1 - inside)
    return size / (2 * mu) * middle.where(y < 0.5, outer)


def _tanh_conjugate(w: Tensor, mu: float) -> Tensor:
    u = (mu * w).abs()
    small = torch.log1p(2 * torch.sinh(u.clamp(max=1) / 2) ** 2)
    log_cosh = small.where(u < 1, u + torch.log1p(torch.exp(-2 * u)) - math.log(2))
    return max(1 / mu, 1.0) / mu * log_cosh


tanh = ElementwiseMap(
    "tanh",
    _tanh,
    _tanh_slope,
    _tanh_pieces,
    _tanh_potential,
    _tanh_conjugate,
    formula="k tanh(mu w), k = max(1/mu, 1)",
    source="IR-Net, arXiv 1909.10788",
    argmin="R(z) - w z over z in [-k, k], R(z) = (k / 2 mu) ((1+y) log(1+y) + (1-y) log(1-y)), y = z/k",
    limits=("w", "sign(w)"),
)
"""The map ``k tanh(mu w)`` with ``k = max(1/mu, 1)``; its slope is ``max(mu, 1) sech^2(mu w)``.

Its value is the argmin of ``R(z) - w z`` over ``z`` in ``[-k, k]``, where
``R(z) = (k / 2 mu) ((1+y) log(1+y) + (1-y) log(1-y))`` with ``y = z/k``. The map tends to ``sign`` (0 at 0)
as ``mu`` grows and to the identity as ``mu`` vanishes.

Source: EDE of IR-Net (arXiv 1909.10788), whose ``t`` is ``mu``.
"""


def _polynomial(w: Tensor, mu: Sharpness) -> Tensor:
    u = (mu * w).clamp_(-1, 1)
    return (2 - u.abs()).mul_(u)


def _polynomial_slope(w: Tensor, mu: Sharpness) -> Tensor:
    return (1 - (mu * w).abs_().clamp_(max=1)).mul_(2 * mu)


def _polynomial_pieces(mu: float) -> tuple[Piece, ...]:
    end = 1 / mu
    return (
        Piece(-math.inf, -end, "flat", -1.0, -1.0, True, 0.0, 0.0),
        Piece(-end, end, "rising", -1.0, 1.0, start_slope=0.0, end_slope=0.0),
        Piece(end, math.inf, "flat", 1.0, 1.0, True, 0.0, 0.0),
    )


def _polynomial_potential(z: Tensor, mu: float) -> Tensor:
    # a - (2/3) (1 - (1-a)^(3/2)) without cancellation, through the argument u with 2u - u^2 = a.
    size = z.abs()
    u = size / (1 + torch.sqrt(1 - size))
    return u**2 * (1 - 2 / 3 * u) / mu


def _polynomial_conjugate(w: Tensor, mu: float) -> Tensor:
    u = (mu * w).abs()
    inside = u.clamp(max=1)
    return (inside**2 * (1 - inside / 3) + (u - inside)) / mu


polynomial = ElementwiseMap(
    "polynomial",
    _polynomial,
    _polynomial_slope,
    _polynomial_pieces,
    _polynomial_potential,
    _polynomial_conjugate,
    formula="2u - u |u| where |u| < 1, sign(u) beyond, u = mu w",
    source="Bi-Real Net, arXiv 1808.00278",
    argmin="R(z) - w z over z in [-1, 1], R(z) = (a - (2/3) (1 - (1-a)^(3/2))) / mu, a = |z|",
    limits=("0", "sign(w)"),
)
"""The map ``2u + u^2`` on ``[-1, 0)``, ``2u - u^2`` on ``[0, 1)``, and ``sign`` outside, with ``u = mu w``.

Its slope is ``mu (2 - 2 |u|)`` inside and 0 outside. Its value is the argmin of ``R(z) - w z`` over ``z`` in
``[-1, 1]``, where ``R(z) = (a - (2/3) (1 - (1-a)^(3/2))) / mu`` with ``a = |z|``. The map tends to ``sign``
(0 at 0) as ``mu`` grows and to 0 as ``mu`` vanishes.

Source: Bi-Real Net (arXiv 1808.00278).
"""
