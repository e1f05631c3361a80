"""Elementwise maps of latent weights, each with its slope.

Every map takes a tensor ``w`` of any shape and float dtype and the sharpness ``mu`` (a positive number or a
zero-dimensional tensor) and returns a tensor like ``w``. Ties go up: ``sign(0) = sign(-0.0) = +1``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Sharpness = float | Tensor
Elementwise = Callable[[Tensor, Sharpness], Tensor]

# sech^2(400) is 0 in every float dtype: clamping there changes no value and keeps infinite arguments from
# producing inf * 0.
_SATURATED = 400.0


@dataclass(frozen=True)
class ElementwiseMap:
    """A map ``w -> value(w, mu)`` with its derivative ``slope(w, mu)`` with respect to ``w``.

    Both are elementwise: tensors of any shape and float dtype in, tensors alike out. Where the map has a kink
    the slope is the one taken by the method that uses it; at a jump it is 0.

    >>> import torch
    >>> hard_tanh(torch.tensor([-2.0, 0.25, 2.0]), mu=2.0)
    tensor([-1.0000,  0.5000,  1.0000])
    >>> hard_tanh.slope(torch.tensor([-2.0, 0.25, 2.0]), mu=2.0)
    tensor([0., 2., 0.])
    """

    name: str
    value: Elementwise
    slope: Elementwise

    def __call__(self, w: Tensor, mu: Sharpness) -> Tensor:
        """``value(w, mu)``."""
        return self.value(w, mu)


def _identity(w: Tensor, mu: Sharpness) -> Tensor:
    return w


def _one(w: Tensor, mu: Sharpness) -> Tensor:
    return torch.ones_like(w)


def _sign(w: Tensor, mu: Sharpness) -> Tensor:
    return torch.ones_like(w).where(w >= 0, -1)


def _zero(w: Tensor, mu: Sharpness) -> Tensor:
    return torch.zeros_like(w)


def _hard_tanh(w: Tensor, mu: Sharpness) -> Tensor:
    return (mu * w).clamp(-1, 1)


def _hard_tanh_slope(w: Tensor, mu: Sharpness) -> Tensor:
    return mu * ((mu * w).abs() <= 1).to(w.dtype)


def _half_argument(w: Tensor, mu: Sharpness) -> Tensor:
    return (0.5 * mu * w).clamp(-_SATURATED, _SATURATED)


def _sech_squared(half: Tensor) -> Tensor:
    # As a product of two logistic functions: 1 - tanh^2 would cancel, 1 / cosh^2 would overflow.
    return 4 * torch.sigmoid(2 * half) * torch.sigmoid(-2 * half)


def _sign_swish(w: Tensor, mu: Sharpness) -> Tensor:
    half = _half_argument(w, mu)
    return torch.tanh(half) + half * _sech_squared(half)


def _sign_swish_slope(w: Tensor, mu: Sharpness) -> Tensor:
    half = _half_argument(w, mu)
    return mu * (_sech_squared(half) * (1 - half * torch.tanh(half)))


identity = ElementwiseMap("identity", _identity, _one)
"""``w``: full precision. Slope 1. ``mu`` is ignored."""

sign = ElementwiseMap("sign", _sign, _zero)
"""``+1`` for ``w >= 0``, else ``-1``: the projector ``P_Q`` onto ``Q = {-1, +1}``.

Argmin over ``z`` in ``Q`` of ``(z - w)^2 / 2``, with ties going up. Slope 0. ``mu`` is ignored.
Source: BinaryConnect (arXiv 1511.00363).
"""

hard_tanh = ElementwiseMap("hard tanh", _hard_tanh, _hard_tanh_slope)
"""``clip(mu w, -1, 1)``. Slope ``mu`` where ``|mu w| <= 1``, 0 beyond. Source: BNN (arXiv 1602.02830)."""

sign_swish = ElementwiseMap("sign-swish", _sign_swish, _sign_swish_slope)
"""``tanh(u/2) + (u/2) sech^2(u/2)`` with ``u = mu w``.

Equal to ``2 s (1 + u (1 - s)) - 1`` with ``s`` the logistic function of ``u``. Slope
``mu sech^2(u/2) (1 - (u/2) tanh(u/2))``. Not monotone: it turns at ``|u| = 2.39936``, where its modulus is
1.19968, then falls to 1. Source: BNN+ (arXiv 1812.11800).
"""
