"""A binarization method: a forward quantizer and a backward quantizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from proxconnect.base.eager import differentiated_forwards, transformed
from proxconnect.errors import ProxConnectError
from proxconnect.quantizers.maps import Elementwise, ElementwiseMap, Sharpness, Slope, slope_of


@dataclass(frozen=True, init=False)
class ForwardBackward:
    """A pair ``(F, B)``: the network computes with ``F(w)``, and ``B(w)`` multiplies the gradient.

    A training step is ``w_t = F_mu(w*_t)``, ``w*_{t+1} = w*_t - eta_t B_mu(w*_t) grad l(w_t)``.

    Source: ProxConnect++ (arXiv 2402.17710).

    Args:
        forward: ``F``, a callable ``(w, mu) -> tensor`` that acts elementwise. It is called with a copy
            of ``w`` unless it is an :class:`ElementwiseMap`, so it may change its argument. Its values
            are converted to the dtype of ``w``.
        backward: ``B``, a callable like ``forward``. None stands for the slope of an :class:`ElementwiseMap`,
            and for the derivative by automatic differentiation of any other ``forward``.
        name: the name of the pair in reports and files.

    Raises:
        ProxConnectError: ``forward`` or ``backward`` is not callable.

    >>> import torch
    >>> pair = ForwardBackward(forward=lambda w, mu: torch.tanh(mu * w))
    >>> w = torch.tensor([0.0, 1.0], requires_grad=True)
    >>> pair(w, 2.0).sum().backward()
    >>> w.grad
    tensor([2.0000, 0.1413])
    >>> torch.equal(w.grad, pair.backward(w, 2.0))
    True
    """

    forward: Elementwise
    backward: Elementwise
    name: str

    def __init__(
        self, forward: Elementwise, backward: Elementwise | None = None, name: str = "custom"
    ) -> None:
        for role, function in (("forward", forward), ("backward", backward or forward)):
            if not callable(function):
                raise ProxConnectError(f"{role} must be a callable (w, mu) -> tensor, not {function!r}")
        if backward is None:
            backward = slope_of(forward) if isinstance(forward, ElementwiseMap) else _Derivative(forward)
        object.__setattr__(self, "forward", forward)
        object.__setattr__(self, "backward", backward)
        object.__setattr__(self, "name", name)

    def __call__(self, w: Tensor, mu: Sharpness) -> Tensor:
        """Return ``F_mu(w)``; in the backward pass ``B_mu(w)`` multiplies the gradient of ``w``.

        Args:
            w: tensor of any shape, float dtype and device.
            mu: sharpness, a positive number or zero-dimensional tensor; it receives no gradient.
        """
        node = _WithTangents if differentiated_forwards() else _FakeQuantize
        return cast(Tensor, node.apply(w, mu, self))  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class _Derivative:
    """``B = F'`` by automatic differentiation."""

    function: Elementwise

    def __call__(self, w: Tensor, mu: Sharpness) -> Tensor:
        if transformed():
            value, pull_back, *_ = torch.func.vjp(lambda argument: self.function(argument, mu), w)
            return cast(Tensor, pull_back(torch.ones_like(value))[0])
        with torch.enable_grad():
            argument = w.detach().requires_grad_()
            value = self.function(argument.clone(), mu)
            if not value.requires_grad:
                return torch.zeros_like(w)
            return torch.autograd.grad(value.sum(), argument)[0]


def present_sharpness(mu: Sharpness, dtype: torch.dtype) -> Sharpness:
    """Copy the sharpness, which a schedule may change in place between forward and backward.

    Args:
        mu: sharpness.
        dtype: dtype of the map's argument; the copy has this precision at least, and so have terms such as
            ``1/mu``.
    """
    if isinstance(mu, Tensor):
        return mu.detach().to(torch.promote_types(dtype, mu.dtype), copy=True)
    return mu


class _FakeQuantize(torch.autograd.Function):
    """The pair as one node of the autograd graph; keeps ``w`` alone for the backward pass."""

    generate_vmap_rule = True

    @staticmethod
    def forward(w: Tensor, mu: Sharpness, pair: ForwardBackward) -> Tensor:
        value = evaluated(pair.forward, w, present_sharpness(mu, w.dtype))
        # Autograd needs a new tensor from every node, and the identity returns its argument.
        return value.clone() if value is w else value

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Sharpness, ForwardBackward], output: Tensor) -> None:
        w, mu, pair = inputs
        ctx.pair, ctx.mu = pair, present_sharpness(mu, w.dtype)
        ctx.save_for_backward(w)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (w,) = ctx.saved_tensors
        return gradients[0] * evaluated(ctx.pair.backward, w, ctx.mu), None, None


class _WithTangents(_FakeQuantize):
    """The pair as a node with a rule for forward mode too; ``torch.compile`` refuses such nodes."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Sharpness, ForwardBackward], output: Tensor) -> None:
        _FakeQuantize.setup_context(ctx, inputs, output)
        ctx.save_for_forward(inputs[0])

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        (w,) = ctx.saved_tensors
        return tangents[0] * evaluated(ctx.pair.backward, w, ctx.mu)


def evaluated(function: Elementwise, w: Tensor, mu: Sharpness) -> Tensor:
    """Return the values of a quantizer at ``w``, in the dtype of ``w``.

    A user's function gets a copy of ``w``, which it may change. It may return another dtype, as
    ``torch.where(w >= 0, 1.0, -1.0)`` does, whose dtype is torch's default.
    """
    if isinstance(function, ElementwiseMap | Slope):
        return function(w, mu)
    return function(w.clone(), mu).to(w.dtype)
