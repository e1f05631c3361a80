"""Maps that are smooth or nearly so: tanh, the polynomial, sign-swish and its monotone variant."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from proxconnect.quantizers._structure import Piece
from proxconnect.quantizers.maps import ElementwiseMap, Sharpness, kept_inside

# sech^2(400) is 0 in every float dtype: clamping there changes no value and keeps infinite arguments from
# producing inf * 0.
_SATURATED = 400.0

# The root of x tanh x = 1. Sign-swish turns at |mu w| = 2 x, and its value there is x itself: with
# tanh x = 1 / x, tanh x + x sech^2 x = 1/x + x (1 - 1/x^2) = x.
TURN = 1.1996786402577338


def _half_argument(w: Tensor, mu: Sharpness, most: float = _SATURATED) -> Tensor:
    return (0.5 * mu * w).clamp_(-most, most)


def _sech_squared(half: Tensor) -> Tensor:
    # 4 p (1 - p) with p the logistic function of -2 |half|: 1 - tanh^2 would cancel, 1 / cosh^2 overflow.
    p = half.abs().mul_(-2).sigmoid_()
    return p.addcmul_(p, p, value=-1).mul_(4)


def _sign_swish(w: Tensor, mu: Sharpness) -> Tensor:
    return _swish(_half_argument(w, mu))


def _swish(half: Tensor) -> Tensor:
    t = torch.tanh(half)
    # Here 1 - tanh^2 may cancel: beside tanh only its absolute error counts.
    return torch.addcmul(t.new_ones(()), t, t, value=-1).mul_(half).add_(t)


def _sign_swish_slope(w: Tensor, mu: Sharpness) -> Tensor:
    return _quarter_of_slope(_minus_size(w, mu)).mul_(4 * mu)


def _minus_size(w: Tensor, mu: Sharpness) -> Tensor:
    """``-|u|``, ``u = mu w``."""
    return w.abs().mul_(-mu).clamp_(min=-2 * _SATURATED)


def _quarter_of_slope(minus_size: Tensor) -> Tensor:
    """``sech^2(u/2) (1 - (u/2) tanh(u/2)) / 4`` from ``-|u|``."""
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
    size = z.abs()
    half = _inverse_half(size.clamp(max=TURN))
    return (2 / mu * half**2 * _sech_squared(half)).where(size <= TURN, math.inf)


def _inverse_half(value: Tensor) -> Tensor:
    """``h`` in ``[0, TURN]`` with ``tanh h + h sech^2 h = value``, by bisection down to the last bit."""
    low, high = torch.zeros_like(value), torch.full_like(value, TURN)
    for _ in range(60):
        middle = (low + high) / 2
        below = torch.tanh(middle) + middle * _sech_squared(middle) < value
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
)
"""``tanh(u/2) + (u/2) sech^2(u/2)`` with ``u = mu w``.

Equal to ``2 s (1 + u (1 - s)) - 1`` with ``s`` the logistic function of ``u``. Slope
``mu sech^2(u/2) (1 - (u/2) tanh(u/2))``. Not monotone: it turns at ``|u| = 2.39936``, where its modulus is
1.19968, then falls to 1; the potentials are those of the part between the turns. Tends to ``sign`` (0 at 0)
as ``mu`` grows and to 0 as ``mu`` vanishes.
"""


def _monotone_value(w: Tensor, mu: Sharpness) -> Tensor:
    # Larger by some roundings, so that the value at the turn and beyond is 1, not nearly so.
    peak = TURN * (1 - 4 * torch.finfo(w.dtype).eps)
    return _swish(_half_argument(w, mu, TURN)).div_(peak).clamp_(-1, 1)


def _monotone_slope(w: Tensor, mu: Sharpness) -> Tensor:
    minus_size = _minus_size(w, mu)
    # Near the turn the slope is 0 up to its rounding, which may take it below.
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
)
"""Sign-swish between its turning points, divided by its value there; ``sign`` beyond. Slope 0 beyond.

The variant whose every latent is covered by the theory: nondecreasing and continuously differentiable. Tends
to ``sign`` (0 at 0) as ``mu`` grows and to 0 as ``mu`` vanishes.
"""


def _tanh_size(mu: Sharpness) -> Sharpness:
    return (1 / mu).clamp(min=1) if isinstance(mu, Tensor) else max(1 / mu, 1.0)


def _tanh(w: Tensor, mu: Sharpness) -> Tensor:
    return _tanh_size(mu) * torch.tanh(mu * w)


def _tanh_slope(w: Tensor, mu: Sharpness) -> Tensor:
    return _tanh_size(mu) * mu * _sech_squared(mu * w)


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
    return (size / (2 * mu) * middle.where(y < 0.5, outer)).where(y <= 1, math.inf)


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
)
"""``k tanh(mu w)`` with ``k = max(1/mu, 1)``, EDE's ``t`` being ``mu``. Slope ``max(mu, 1) sech^2(mu w)``.

Tends to ``sign`` (0 at 0) as ``mu`` grows and to the identity as ``mu`` vanishes.
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
    size = z.abs()
    # a - (2/3) (1 - (1-a)^(3/2)) without cancellation, through the argument u with 2u - u^2 = a.
    inside = size.clamp(max=1)
    u = inside / (1 + torch.sqrt(1 - inside))
    return (u**2 * (1 - 2 / 3 * u) / mu).where(size <= 1, math.inf)


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
)
"""``2u + u^2`` on ``[-1, 0)``, ``2u - u^2`` on ``[0, 1)``, ``sign`` outside, with ``u = mu w``.

Slope ``mu (2 - 2 |u|)`` inside, 0 outside. Tends to ``sign`` (0 at 0) as ``mu`` grows and to 0 as it
vanishes.
"""
