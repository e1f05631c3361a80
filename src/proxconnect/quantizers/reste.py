"""ReSTE: the derivative of a power function, tempered around 0 and cut off far out."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

from proxconnect.errors import ProxConnectError
from proxconnect.quantizers._polyline import Polyline
from proxconnect.quantizers._structure import Piece
from proxconnect.quantizers.maps import ElementwiseMap, Sharpness, sign


def reste(m: float = 0.1, t: float = 1.5) -> ElementwiseMap:
    """Return the integral of ReSTE's backward quantizer.

    With ``o = max(mu, 1)`` the map is linear up to ``|w| = m``, then ``sign(w) |w|^(1/o)``, and constant
    beyond ``t``. The slope is ``m^(1/o - 1)`` where ``|w| <= m``, ``(1/o) |w|^(1/o - 1)`` where
    ``m < |w| <= t``, and 0 beyond. The slope jumps at ``t``, and at ``m`` unless ``o`` is 1.

    The map is ``clip(w, -t, t)`` at ``mu = 1`` and tends to ``clip(w / m, -1, 1)`` as ``mu`` grows. Its value
    is the argmin of ``R(z) - w z`` over its range, where ``R`` is the integral from 0 of the inverse:
    ``m^(1 - 1/o) z`` up to ``|z| = m^(1/o)``, then ``sign(z) |z|^o``.

    Source: ReSTE (arXiv 2308.06689), where ``o`` grows from 1 to 3 and the forward quantizer is ``sign``.

    Args:
        m: the slope is constant for ``|w|`` below ``m``; the slope of the power function is infinite at 0.
        t: the slope is 0 for ``|w|`` beyond ``t``.

    Raises:
        ProxConnectError: ``0 < m < t`` does not hold, or ``t`` is not finite.

    >>> import torch
    >>> reste()(torch.tensor([0.05, 0.125, 1.0, 7.0]), mu=3.0)
    tensor([0.2321, 0.5000, 1.0000, 1.1447])
    """
    if not 0 < m < t < math.inf:
        raise ProxConnectError(f"m and t must satisfy 0 < m < t, but are {m} and {t}")
    return _reste(float(m), float(t))


@cache
def _reste(m: float, t: float) -> ElementwiseMap:
    def power(w: Tensor, exponent: Sharpness) -> Tensor:
        """Compute ``|w|^exponent``, constant below ``m`` and beyond ``t``."""
        # Four times as fast as torch.pow, and precise since logarithms of numbers in [m, t] are small.
        return w.abs().clamp_(m, farthest(w)).log_().mul_(exponent).exp_()

    def farthest(w: Tensor) -> float:
        """Return ``t``, or the largest number of the dtype of ``w`` if that is smaller."""
        return min(t, torch.finfo(w.dtype).max)

    def value(w: Tensor, mu: Sharpness) -> Tensor:
        # Where |w| < m the power is the power of m, and the factor w / m makes it linear. The logarithm of a
        # large t is rounded coarsely, so its exponential may exceed the end of the range.
        root = _root(mu)
        return (w / m).clamp_(-1, 1).mul_(power(w, root).clamp_(max=farthest(w) ** root))

    def slope(w: Tensor, mu: Sharpness) -> Tensor:
        root, size = _root(mu), w.abs()
        # The factor is 1 up to m, root up to t, and 0 beyond.
        factor = _up_to(m, size).mul_(1 - root).add_(_up_to(t, size).mul_(root))
        return factor.mul_(power(w, root - 1))

    def pieces(mu: float) -> tuple[Piece, ...]:
        root = 1 / max(mu, 1.0)
        if root == 1:
            return Polyline(((-t, -t), (t, t))).pieces()
        low, high, middle = m**root, t**root, m ** (root - 1)
        near, far = root * m ** (root - 1), root * t ** (root - 1)
        return (
            Piece(-math.inf, -t, "flat", -high, -high, True, 0.0, 0.0),
            Piece(-t, -m, "rising", -high, -low, False, far, near),
            Piece(-m, m, "rising", -low, low, True, middle, middle),
            Piece(m, t, "rising", low, high, False, near, far),
            Piece(t, math.inf, "flat", high, high, True, 0.0, 0.0),
        )

    def conjugate(w: Tensor, mu: float) -> Tensor:
        root, size = 1 / max(mu, 1.0), w.abs()
        linear = m ** (root - 1) / 2 * size.clamp(max=m) ** 2
        power = (size.clamp(m, t) ** (root + 1) - m ** (root + 1)) / (root + 1)
        total: Tensor = linear + power + t**root * (size.clamp(min=t) - t)
        return total

    def potential(z: Tensor, mu: float) -> Tensor:
        power, size = max(mu, 1.0), z.abs()
        w = (size * m ** (1 - 1 / power)).where(size <= m ** (1 / power), size**power)
        value: Tensor = size * w - conjugate(w, mu)
        return value

    return ElementwiseMap(
        "ReSTE",
        value,
        slope,
        pieces,
        potential,
        conjugate,
        formula=f"sign(w) |w|^(1/mu), linear where |w| < {m:g}, constant where |w| > {t:g}",
        source="the integral of the slope of ReSTE, arXiv 2308.06689",
        argmin=f"R(z) - w z over |z| <= {t:g}^(1/mu), R(z) = int_0^|z| max({m:g}^(1 - 1/mu) x, x^mu) dx",
        limits=(f"clip(w, -{t:g}, {t:g})", f"clip(w / {m:g}, -1, 1)"),
    )


def _up_to(bound: float, size: Tensor) -> Tensor:
    """Return 1 where ``size <= bound``, else 0."""
    return sign(bound - size, 1.0).clamp_(min=0)


def _root(mu: Sharpness) -> Sharpness:
    return 1 / mu.clamp(min=1) if isinstance(mu, Tensor) else 1 / max(mu, 1.0)
