"""Quantized activations as one node of the autograd graph that keeps as little as possible."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from proxconnect.base.eager import watched
from proxconnect.kernels import (
    CompiledMap,
    fits_compiled_code,
    marked_gradient,
    unpacked_marks,
    with_stride,
)
from proxconnect.layers._compiled import CompiledPair
from proxconnect.quantizers.pair import evaluated


def quantize_activation(x: Tensor, mu: Tensor, pair: CompiledPair) -> Tensor:
    """Compute ``F_mu(x)``; the gradient is ``dl/dx = B_mu(x) g``.

    If ``B`` has only two values, one of them 0, as for ``bnn`` and ``hardtanh``, the backward pass keeps a
    bit for each activation; otherwise it keeps ``x``.

    Args:
        x: activations.
        mu: sharpness, zero-dimensional.
        pair: ``F`` and ``B``.
    """
    if pair.value is None or not fits_compiled_code(x):
        return pair.pair(x, mu)
    return cast(Tensor, _QuantizeActivation.apply(x, mu, pair, pair.value))  # type: ignore[no-untyped-call]


class _QuantizeActivation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, mu: Tensor, pair: CompiledPair, value: CompiledMap) -> Tensor:
        ctx.pair, ctx.mu, ctx.stride = pair, mu.item(), x.stride()
        if ctx.needs_input_grad[0] and pair.slope is not None and pair.slope.is_ramp:
            ctx.height = pair.slope.height(ctx.mu)
            quantized, marks = value.marked_value(x, ctx.mu, pair.slope)
            ctx.save_for_backward(marks)
            return quantized
        ctx.height = None
        ctx.save_for_backward(x)
        return value.value(x, ctx.mu)

    @staticmethod
    @once_differentiable  # autograd does not see into compiled code
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (g,), (kept,) = gradients, ctx.saved_tensors
        if ctx.height is not None:
            if watched(g):
                return g * ctx.height * unpacked_marks(kept, g.shape, ctx.stride), None, None, None
            return marked_gradient(kept, ctx.height, with_stride(g, ctx.stride)), None, None, None
        slope = None if watched(g) else ctx.pair.slope
        if slope:
            return slope.gradient(kept, ctx.mu, g), None, None, None
        return g * evaluated(ctx.pair.pair.backward, kept, ctx.mu), None, None, None
