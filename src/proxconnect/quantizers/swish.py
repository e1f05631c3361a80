"""Sign-swish, which rises and falls, and its monotone variant."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from proxconnect.quantizers._structure import Piece
from proxconnect.quantizers.maps import ElementwiseMap, Sharpness, kept_inside
from proxconnect.quantizers.smooth import sech_squared

# sech^2(400) is 0 in every float dtype: clamping there changes no value and keeps infinite arguments from
# producing inf * 0.
_SATURATED = 400.0

# The root of x tanh x = 1. Sign-swish turns at |mu w| = 2 x, and its value there is x itself: with
# tanh x = 1 / x, tanh x + x sech^2 x = 1/x + x (1 - 1/x^2) = x.
TURN = 1.1996786402577338


def _half_argument(w: Tensor, mu: Sharpness, most: float = _SATURATED) -> Tensor:
    return (0.5 * mu * w).clamp_(-most, most)


def _sign_swish(w: Tensor, mu: Sharpness) -> Tensor:
    return _swish(_half_argument(w, mu))


def _swish(half: Tensor) -> Tensor:
    t = torch.tanh(half)
    # Here 1 - tanh^2 may cancel: beside tanh only its absolute error counts.
    return torch.addcmul(t.new_ones(()), t, t, value=-1).mul_(half).add_(t)


def _sign_swish_slope(w: Tensor, mu: Sharpness) -> Tensor:
    return _quarter_of_slope(_minus_size(w, mu)).mul_(4 * mu)


def _minus_size(w: Tensor, mu: Sharpness) -> Tensor:
    """Compute ``-|u|`` with ``u = mu w``."""
    return w.abs().mul_(-mu).clamp_(min=-2 * _SATURATED)


def _quarter_of_slope(minus_size: Tensor) -> Tensor:
    """Compute ``sech^2(u/2) (1 - (u/2) tanh(u/2)) / 4`` from ``-|u|``."""
    # With p its logistic function, sech^2(u/2) = 4 p (1 - p) and tanh(|u|/2) = 1 - 2 p.
    p = torch.sigmoid(minus_size)
    rise = (0.5 - p).mul_(minus_size).add_(1)
    return rise.mul_(p.addcmul_(p, p, value=-1))


def _sign_swish_pieces(mu: float) -> tuple[Piece, ...]:
    turn = 2 * TURN / mu
    return (
        Piece(-math.inf, -turn, "falling", -1.0, -TURN, start_slope=0.0, end_slope=0.0),
        Piece(-turn, turn, "rising", -TURN, TURN, start_slope=0.0, end_slope=0.0),
        Piece(turn, math.inf, "falling", TURN, 1.0, start_slope=0.0, end_slope=0.0),
    )


def _monotone_part_conjugate(w: Tensor, mu: float) -> Tensor:
    # w tanh(mu w / 2) up to the turning point, where its slope is TURN; linear beyond.
    size, turn = w.abs(), 2 * TURN / mu
    inside = size.clamp(max=turn)
    return inside * torch.tanh(0.5 * mu * inside) + TURN * (size - inside)


def _monotone_part_potential(z: Tensor, mu: float) -> Tensor:
    half = _inverse_half(z.abs())
    return 2 / mu * half**2 * sech_squared(half)


def _inverse_half(value: Tensor) -> Tensor:
    """Solve ``tanh h + h sech^2 h = value`` for ``h`` in ``[0, TURN]``, by bisection down to the last bit."""
    low, high = torch.zeros_like(value), torch.full_like(value, TURN)
    for _ in range(60):
        middle = (low + high) / 2
        below = torch.tanh(middle) + middle * sech_squared(middle) < value
        low, high = middle.where(below, low), high.where(below, middle)
    return high


sign_swish = ElementwiseMap(
    "sign-swish",
    _sign_swish,
    _sign_swish_slope,
    _sign_swish_pieces,
    _monotone_part_potential,
    _monotone_part_conjugate,
    formula="tanh(u/2) + (u/2) sech^2(u/2), u = mu w",
    source="BNN+, arXiv 1812.11800",
    limits=("0", "sign(w)"),
)
"""The map ``tanh(u/2) + (u/2) sech^2(u/2)`` with ``u = mu w``.

It equals ``2 s (1 + u (1 - s)) - 1``, where ``s`` is the logistic function of ``u``. Its slope is
``mu sech^2(u/2) (1 - (u/2) tanh(u/2))``. The map tends to ``sign`` (0 at 0) as ``mu`` grows and to 0 as
``mu`` vanishes.

The map is not monotone: its modulus rises to 1.19968 at ``|u| = 2.39936`` and then falls to 1. So it is not a
proximal map. Its part between the turning points is one, and ``potential`` belongs to this part: at the value
of the map at ``w``, ``R = (mu w^2/2) sech^2(mu w/2)``.

Source: BNN+ (arXiv 1812.11800).
"""


def _monotone_value(w: Tensor, mu: Sharpness) -> Tensor:
    # The quotient is larger by some roundings, so that the value at the turn and beyond is exactly 1.
    peak = TURN * (1 - 4 * torch.finfo(w.dtype).eps)
    return _swish(_half_argument(w, mu, TURN)).div_(peak).clamp_(-1, 1)


def _monotone_slope(w: Tensor, mu: Sharpness) -> Tensor:
    minus_size = _minus_size(w, mu)
    # Near the turn the slope is 0 up to rounding, which may make it negative.
    slope = _quarter_of_slope(minus_size).clamp_(min=0)
    return kept_inside(slope, minus_size, 2 * TURN).mul_(4 * mu / TURN)


def _monotone_pieces(mu: float) -> tuple[Piece, ...]:
    turn = 2 * TURN / mu
    return (
        Piece(-math.inf, -turn, "flat", -1.0, -1.0, True, 0.0, 0.0),
        Piece(-turn, turn, "rising", -1.0, 1.0, start_slope=0.0, end_slope=0.0),
        Piece(turn, math.inf, "flat", 1.0, 1.0, True, 0.0, 0.0),
    )


monotone_sign_swish = ElementwiseMap(
    "monotone sign-swish",
    _monotone_value,
    _monotone_slope,
    _monotone_pieces,
    lambda z, mu: _monotone_part_potential(TURN * z, mu) / TURN,
    lambda w, mu: _monotone_part_conjugate(w, mu) / TURN,
    formula="sign-swish / 1.19968 where |mu w| < 2.39936, sign(w) beyond",
    source="this project",
    argmin="R(z) - w z over z in [-1, 1], R = (mu v^2/2) sech^2(mu v/2) / 1.19968 at z the value at v",
    limits=("0", "sign(w)"),
)
"""The map that is sign-swish / 1.19968 between the turning points of sign-swish, and ``sign`` beyond.

The map is nondecreasing and continuously differentiable, so the theory covers every latent; its slope beyond
the turning points is 0. Its value is the argmin of ``R(z) - w z`` over ``z`` in ``[-1, 1]``, where
``R = (mu v^2/2) sech^2(mu v/2) / 1.19968`` at the value ``z`` of ``v``. The map tends to ``sign`` (0 at 0) as
``mu`` grows and to 0 as ``mu`` vanishes.
"""
