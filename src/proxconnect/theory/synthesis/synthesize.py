"""Build a pair from ``T`` and ``P``."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from proxconnect.errors import ProxConnectError
from proxconnect.quantizers import ForwardBackward
from proxconnect.quantizers.maps import Elementwise, Sharpness
from proxconnect.quantizers.pair import evaluated
from proxconnect.theory._cells import integrals
from proxconnect.theory.criterion.monotone import refuse_a_fall
from proxconnect.theory.interval import Interval
from proxconnect.theory.sampling.probe import Probe
from proxconnect.theory.sampling.samples import sample

_MONOTONE = "a proximal map and its reparametrisation are monotone"
_UNBOUNDED = 1e5


def synthesize(
    transform: Callable[[Tensor], Tensor],
    prox: Elementwise,
    derivative: Callable[[Tensor], Tensor] | None = None,
) -> ForwardBackward:
    """Build the pair ``F = T o P``, ``B = T' o P``, which is exact by construction.

    Args:
        transform: ``T(u)``, elementwise on tensors of any float dtype. It must not decrease on the range of
            ``prox``.
        prox: ``P(w, mu)``, elementwise on tensors of any float dtype. It must not decrease in ``w``; this is
            tested at ``mu = 1``.
        derivative: ``T'(u)``. Its integral is compared with the growth of ``transform``. ``None`` stands for
            automatic differentiation of ``transform``.

    Raises:
        ProxConnectError: ``transform`` or ``prox`` decreases somewhere, ``derivative`` is negative somewhere,
            ``derivative`` is not the slope of ``transform``, or one of them is no elementwise function. The
            message names latents that show it.

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
    range_of_prox = refuse_a_fall(prox, "prox", 1.0, _MONOTONE).stretches
    low, high = range_of_prox[0].forward[0], range_of_prox[-1].forward[1]
    reach = Interval(
        low if low > -_UNBOUNDED else -math.inf, high if high < _UNBOUNDED else math.inf, True, True
    )
    if low < high:
        refuse_a_fall(_of_latent(transform), "transform", 1.0, _MONOTONE, reach)
        _refuse_another_slope(_of_latent(transform), _of_latent(slope), reach)
    return ForwardBackward(_Composed(transform, prox), _Composed(slope, prox), "synthesized")


@dataclass(frozen=True)
class _Composed:
    """``outer o prox``."""

    outer: Callable[[Tensor], Tensor]
    prox: Elementwise

    def __call__(self, w: Tensor, mu: Sharpness) -> Tensor:
        return self.outer(evaluated(self.prox, w, mu))


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


def _refuse_another_slope(transform: Elementwise, slope: Elementwise, reach: Interval) -> None:
    """Refuse a derivative that is negative, or whose integral is not the growth of the transform."""
    of_transform, of_slope = Probe(transform, "transform", 1.0), Probe(slope, "derivative", 1.0)
    samples = sample(of_transform, of_slope, 1.0, reach)
    u, values, slopes = samples.w, samples.forward, samples.backward
    if (slopes < 0).any():
        k = int(np.argmin(slopes))
        raise ProxConnectError(
            f"derivative must not be negative, but it is {slopes[k]:.6g} at u = {u[k]:.6g}; "
            "expected the derivative of the nondecreasing transform"
        )
    width, growth = np.diff(u), np.diff(values)
    with np.errstate(over="ignore", invalid="ignore"):
        area, spread = integrals(of_slope, u[:-1], width)
        rounding = of_transform.epsilon * (np.abs(values[:-1]) + np.abs(u[:-1] * slopes[:-1]))
        # The error of the rule next to a kink, or where the slope is steep, is no larger than this.
        allowed = 32 * rounding + 1e-6 * area + width * spread + 1e-300
        wrong = np.abs(growth - area) > allowed
    at_jumps = np.searchsorted(u, [low for low, _ in samples.jumps], side="right") - 1
    wrong[np.clip(at_jumps, 0, len(wrong) - 1)] = False
    if wrong.any():
        candidates = np.flatnonzero(wrong)
        k = int(candidates[np.argmin(np.abs(np.abs(u[candidates]) - 1))])
        raise ProxConnectError(
            f"derivative is not the slope of transform: from {u[k]:.6g} to {u[k + 1]:.6g} transform grows by "
            f"{growth[k]:.6g}, and the integral of derivative is {area[k]:.6g}; leave it out to have it "
            "made by automatic differentiation"
        )
