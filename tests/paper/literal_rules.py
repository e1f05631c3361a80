"""The four step rules, literally in the notation of the papers: the reference for fast code.

``w`` is one latent tensor, ``g`` the gradient oracle ``g(w) = grad l(w)`` of the loss in the network's
weight, ``eta`` the step size, ``mu`` the sharpness. ``F`` and ``B`` are the forward and the backward
quantizer, ``P`` a proximal map; all act elementwise. Every function returns a new tensor.

Sources: PC, arXiv 2110.13220; PC++, arXiv 2402.17710; ProxQuant (pq), arXiv 1810.00861.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from torch import Tensor

from proxconnect.quantizers import Elementwise

Gradient = Callable[[Tensor], Tensor]


def fp(w: Tensor, g: Gradient, eta: float) -> Tensor:
    """Plain descent: ``w* <- w* - eta g(w*)``; quantized once, at the end."""
    return w - eta * g(w)


def pc(w: Tensor, g: Gradient, eta: float, F: Elementwise, B: Elementwise, mu: float) -> Tensor:  # noqa: N803
    """PC++: gradient at the quantized, step from the latent: ``w* <- w* - eta B(w*) g(F(w*))``."""
    return w - eta * B(w, mu) * g(F(w, mu))


def rpc(w: Tensor, g: Gradient, eta: float, P: Elementwise, mu: float) -> Tensor:  # noqa: N803
    """Reverse PC: gradient at the latent, step from the quantized: ``w* <- P(w*) - eta g(w*)``."""
    return P(w, mu) - eta * g(w)


def pq(w: Tensor, g: Gradient, eta: float, P: Elementwise, lambda_: float) -> Tensor:  # noqa: N803
    """ProxQuant: both at the quantized: ``w <- P(w - eta g(w))``, prox strength ``eta_t lambda_t``."""
    return P(w - eta * g(w), eta * lambda_)


def pc_strengths(etas: Iterable[float]) -> Iterator[float]:
    """PC's ``mu_t = 1 + sum_{s<t} eta_s``: with them its step ``t`` uses the proximal map of ``mu_t r``.

    >>> list(pc_strengths([0.5, 0.25]))
    [1.0, 1.5, 1.75]
    """
    strength = 1.0
    yield strength
    for eta in etas:
        strength += eta
        yield strength
