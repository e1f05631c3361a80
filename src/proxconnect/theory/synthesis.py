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
from proxconnect.theory.monotone import refuse_a_fall
from proxconnect.theory.verdict import Interval

_MONOTONE = "a proximal map and its reparametrisation are monotone"
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
        derivative: ``T'(u)``, which is compared with the growth of ``transform``; ``None`` takes it by
            automatic differentiation.

    Raises:
        ProxConnectError: ``transform`` or ``prox`` decreases somewhere, ``derivative`` is negative somewhere
            or not the slope of ``transform`` (the message names places that show it), or one of them is no
            elementwise function.

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


def repair(pair: ForwardBackward, mu: float = 1.0) -> ForwardBackward:
    """The nearest pair with the same backward quantizer that a reparametrisation explains.

    An exact pair is returned unchanged. Otherwise the forward quantizer becomes ``int_0^w B``: the map
    itself, where ``B`` is declared as the slope of a map, else by quadrature. Where both the integral and the
    pair's own forward are bounded, a constant is added that gives both the same middle: a quantizer whose
    threshold is not 0 stays centred on its levels. Such a pair decomposes with ``P = id``; it is exact
    wherever ``B`` is not negative. Repairing twice changes nothing. In training, on float32 and narrower
    types, the integral is read from a table; it is made anew at each ``mu`` only where ``B`` depends on
    ``mu`` in another way than through ``mu w``.

    Args:
        pair: any pair; its forward quantizer only decides whether there is something to repair, and the
            middle.
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
    forward = _integral_of(pair, mu)
    if isinstance(pair.forward, Integral) and pair.forward.backward == pair.backward:
        return pair
    if pair.forward == forward:
        return pair
    if isinstance(forward, Integral):
        forward(
            torch.zeros(1, dtype=torch.float64, device="cpu"), mu
        )  # refuses what cannot be integrated here rather than in training
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


def _refuse_another_slope(transform: Elementwise, slope: Elementwise, reach: Interval) -> None:
    """Refuses a derivative that is negative, or whose integral is not the growth of the transform."""
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
    nodes, weights = np.polynomial.legendre.leggauss(5)
    inside = of_slope((u[:-1, None] + width[:, None] * (nodes + 1) / 2).reshape(-1)).reshape(-1, len(nodes))
    with np.errstate(over="ignore", invalid="ignore"):
        area = inside @ weights * width / 2
        rounding = of_transform.epsilon * (np.abs(values[:-1]) + np.abs(u[:-1] * slopes[:-1]))
        # Next to a kink, and where the slope is steep, the rule itself is off by no more than this.
        allowed = 32 * rounding + 1e-6 * area + width * np.ptp(inside, axis=1) + 1e-300
        wrong = np.abs(growth - area) > allowed
    at_jumps = np.searchsorted(u, [low for low, _ in samples.jumps], side="right") - 1
    wrong[np.clip(at_jumps, 0, len(wrong) - 1)] = False
    if wrong.any():
        shown = np.flatnonzero(wrong)
        k = int(shown[np.argmin(np.abs(np.abs(u[shown]) - 1))])
        raise ProxConnectError(
            f"derivative is not the slope of transform: from {u[k]:.6g} to {u[k + 1]:.6g} transform grows by "
            f"{growth[k]:.6g}, and the integral of derivative is {area[k]:.6g}; leave it out to have it "
            "made by automatic differentiation"
        )


def _integral_of(pair: ForwardBackward, mu: float) -> Elementwise:
    """The map whose slope ``B`` is, if that map is its slope's integral from 0; else quadrature."""
    if isinstance(pair.backward, Slope) and _integrates_its_slope(pair.backward.map, mu):
        return pair.backward.map
    return Integral(pair.backward, pair.forward)


def _integrates_its_slope(candidate: ElementwiseMap, mu: float) -> bool:
    if candidate.pieces is None:
        return False
    pieces = candidate.pieces(mu)
    continuous = all(
        math.isclose(left.end_value, right.start_value, rel_tol=1e-9, abs_tol=1e-12)
        for left, right in itertools.pairwise(pieces)
    )
    return continuous and float(candidate(torch.zeros((), dtype=torch.float64, device="cpu"), mu)) == 0


def _known(forward: Elementwise, backward: Elementwise) -> ForwardBackward | None:
    """The method of the catalogue that has these quantizers."""
    pairs = (method(name) for name in methods())
    return next((pair for pair in pairs if (pair.forward, pair.backward) == (forward, backward)), None)
