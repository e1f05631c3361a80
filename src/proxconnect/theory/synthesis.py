"""Pairs that are exact by construction, and the repair of those that are not."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from proxconnect.errors import ProxConnectError
from proxconnect.quantizers import ForwardBackward, method, methods
from proxconnect.quantizers.maps import Elementwise, ElementwiseMap, Sharpness, Slope
from proxconnect.theory._integral import Integral
from proxconnect.theory._probe import Probe
from proxconnect.theory._sampling import sample
from proxconnect.theory.check import check, positive_sharpness
from proxconnect.theory.verdict import Interval

_FALL = 1e-12
_UNBOUNDED = 1e5


def synthesize(
    transform: Callable[[Tensor], Tensor],
    prox: Elementwise,
    derivative: Callable[[Tensor], Tensor] | None = None,
) -> ForwardBackward:
    """The pair ``F = T o P``, ``B = T' o P``, which is exact by construction.

    Args:
        transform: ``T(u)``, nondecreasing on the range of ``prox``; elementwise on tensors of any float
            dtype.
        prox: ``P(w, mu)``, nondecreasing in ``w``; likewise. That it is so is tested at ``mu = 1``.
        derivative: ``T'(u)``; ``None`` takes it by automatic differentiation.

    Raises:
        ProxConnectError: ``transform`` or ``prox`` decreases somewhere, ``derivative`` is negative somewhere
            (the message names latents that show it), or one of them is no elementwise function.

    >>> import torch
    >>> import proxconnect as pc
    >>> pair = pc.synthesize(torch.tanh, prox=lambda w, mu: (mu * w).clamp(-1, 1))
    >>> pair.forward(torch.tensor([0.25, 3.0]), 2.0), pair.backward(torch.tensor([0.25, 3.0]), 2.0)
    (tensor([0.4621, 0.7616]), tensor([0.7864, 0.4200]))
    >>> pc.check(pair, mu=2.0).exact
    True
    """
    slope = _Derivative(transform) if derivative is None else derivative
    for role, function in (("transform", transform), ("prox", prox), ("derivative", slope)):
        if not callable(function):
            raise ProxConnectError(f"{role} must be a callable on tensors, not {function!r}")
    line = Interval(-math.inf, math.inf, False, False)
    _, places = _refuse_a_fall(Probe(prox, "prox", 1.0), line)
    low, high = float(places.min()), float(places.max())
    reach = Interval(
        low if low > -_UNBOUNDED else -math.inf, high if high < _UNBOUNDED else math.inf, True, True
    )
    if low < high:
        u, _ = _refuse_a_fall(Probe(_of_latent(transform), "transform", 1.0), reach)
        slopes = Probe(_of_latent(slope), "derivative", 1.0)(u)
        if (slopes < 0).any():
            k = int(np.argmin(slopes))
            raise ProxConnectError(
                f"derivative must not be negative, but it is {slopes[k]:.6g} at u = {u[k]:.6g}; "
                "expected the derivative of the nondecreasing transform"
            )
    return ForwardBackward(_Composed(transform, prox), _Composed(slope, prox), "synthesized")


def repair(pair: ForwardBackward, mu: float = 1.0) -> ForwardBackward:
    """The nearest pair with the same backward quantizer that a reparametrisation explains.

    An exact pair is returned unchanged. Otherwise the forward quantizer becomes ``int_0^w B``: the map
    itself, where ``B`` is declared as the slope of a map, else by quadrature. Such a pair decomposes with
    ``P = id``; it is exact wherever ``B`` is not negative. Repairing twice changes nothing.

    Args:
        pair: any pair; its forward quantizer only decides whether there is something to repair.
        mu: the sharpness at which the pair is checked. The repaired pair takes any.

    Raises:
        ProxConnectError: ``check`` refuses the pair, or ``B`` cannot be integrated.

    >>> import proxconnect as pc
    >>> pc.repair(pc.method("bnn+")) == pc.method("bnn++")
    True
    >>> pc.repair(pc.method("bnn")).name
    'hardtanh'
    """
    mu = positive_sharpness(mu)
    if check(pair, mu).exact:
        return pair
    forward = _integral_of(pair.backward, mu)
    if pair.forward == forward:
        return pair
    if isinstance(forward, Integral):
        forward(torch.zeros(1), mu)  # refuses what cannot be integrated here rather than in training
    return _known(forward, pair.backward) or ForwardBackward(forward, pair.backward, f"{pair.name}, repaired")


@dataclass(frozen=True)
class _Composed:
    """``outer o prox``."""

    outer: Callable[[Tensor], Tensor]
    prox: Elementwise

    def __call__(self, w: Tensor, mu: Sharpness) -> Tensor:
        return self.outer(self.prox(w, mu))


@dataclass(frozen=True)
class _Derivative:
    """``T'`` by automatic differentiation."""

    function: Callable[[Tensor], Tensor]

    def __call__(self, u: Tensor) -> Tensor:
        with torch.enable_grad():
            argument = u.detach().requires_grad_()
            value = self.function(argument)
            if not value.requires_grad:
                return torch.zeros_like(u)
            return torch.autograd.grad(value.sum(), argument)[0]


def _of_latent(function: Callable[[Tensor], Tensor]) -> Elementwise:
    return lambda u, mu: function(u)


def _refuse_a_fall(probe: Probe, domain: Interval) -> tuple[np.ndarray, np.ndarray]:
    """Samples of a nondecreasing function, refused where it falls by more than rounding."""
    if not probe.steady(np.linspace(max(domain.low, -8.0), min(domain.high, 8.0), 1001)):
        raise ProxConnectError(f"{probe.role} changes between calls with the same values")
    samples = sample(probe, probe, 1.0, domain)
    w, f = samples.w, samples.forward
    noise = _FALL * (np.abs(f) + samples.scales[0])
    fall = np.maximum.accumulate(f) - f - noise
    if (fall > 0).any():
        shown = np.flatnonzero(fall > 0.1 * min(float(fall.max()), float(samples.scales[0])))
        later = int(shown[np.argmin(np.abs(w[shown]))])
        earlier = int(np.argmax(f[: later + 1]))
        raise ProxConnectError(
            f"{probe.role} must be nondecreasing, but it falls from {f[earlier]:.6g} at {w[earlier]:.6g} to "
            f"{f[later]:.6g} at {w[later]:.6g}; a proximal map and its reparametrisation are monotone"
        )
    return w, f


def _integral_of(backward: Elementwise, mu: float) -> Elementwise:
    """The map whose slope ``backward`` is, if that map is its slope's integral from 0; else quadrature."""
    if isinstance(backward, Slope) and _integrates_its_slope(backward.map, mu):
        return backward.map
    return Integral(backward)


def _integrates_its_slope(candidate: ElementwiseMap, mu: float) -> bool:
    if candidate.pieces is None:
        return False
    pieces = candidate.pieces(mu)
    continuous = all(
        math.isclose(left.end_value, right.start_value, rel_tol=1e-9, abs_tol=1e-12)
        for left, right in itertools.pairwise(pieces)
    )
    return continuous and float(candidate(torch.zeros((), dtype=torch.float64), mu)) == 0


def _known(forward: Elementwise, backward: Elementwise) -> ForwardBackward | None:
    """The method of the catalogue that has these quantizers."""
    pairs = (method(name) for name in methods())
    return next((pair for pair in pairs if (pair.forward, pair.backward) == (forward, backward)), None)
