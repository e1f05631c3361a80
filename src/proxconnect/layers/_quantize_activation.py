"""Quantized activations as one node of the autograd graph that keeps no more than it must."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from proxconnect.layers._compiled import (
    Compiled,
    compiled_slope,
    compiled_value,
    laid_out,
    marked_gradient,
)
from proxconnect.quantizers import ForwardBackward
from proxconnect.quantizers.pair import held


def quantize_activation(x: Tensor, mu: Tensor, pair: ForwardBackward) -> Tensor:
    """``F_mu(x)``; ``dl/dx = B_mu(x) g``.

    Where ``B`` has but the values 0 and one other, as those of ``bnn`` and ``hardtanh``, a bit for each
    activation is all that is kept for the backward pass; else ``x`` is.

    Args:
        x: activations.
        mu: sharpness, zero-dimensional.
        pair: ``F`` and ``B``.
    """
    compiled = compiled_value(pair.forward, x)
    if compiled is None:
        return pair(x, mu)
    return cast(Tensor, _QuantizeActivation.apply(x, mu, pair, compiled))  # type: ignore[no-untyped-call]


class _QuantizeActivation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, mu: Tensor, pair: ForwardBackward, compiled: Compiled) -> Tensor:
        ctx.pair, ctx.mu, ctx.stride = pair, held(mu, x.dtype), x.stride()
        slope = compiled_slope(pair.backward, x)
        if ctx.needs_input_grad[0] and slope is not None and slope.is_ramp:
            ctx.height = slope.height(ctx.mu)
            value, inside = compiled.marked_value(x, ctx.mu, slope)
            ctx.save_for_backward(inside)
            return value
        ctx.height = None
        ctx.save_for_backward(x)
        return compiled.value(x, ctx.mu)

    @staticmethod
    @once_differentiable  # autograd does not see into compiled code
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (g,), (kept,) = gradients, ctx.saved_tensors
        if ctx.height is not None:
            return marked_gradient(kept, ctx.height, laid_out(g, ctx.stride)), None, None, None
        slope = compiled_slope(ctx.pair.backward, kept, g)
        of_x = slope.gradient(kept, ctx.mu, g) if slope else g * ctx.pair.backward(kept, ctx.mu)
        return of_x, None, None, None
