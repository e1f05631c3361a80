"""The quantized weight as one node of the autograd graph."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from proxconnect._rows import Rows
from proxconnect.layers._compiled import compiled_slope, compiled_value
from proxconnect.quantizers import ForwardBackward
from proxconnect.quantizers.maps import Sharpness
from proxconnect.quantizers.pair import held


def quantize_weight(
    latent: Tensor, alpha: Tensor, s: Tensor, mu: Tensor, pair: ForwardBackward, rows: Rows
) -> Tensor:
    """``w = alpha F_mu(w*/s)``; ``dl/dw* = B_mu(w*/s) (alpha/s) g``, ``dl/dalpha = sum F_mu(w*/s) g``.

    For the backward pass it keeps ``latent``, which is a parameter, and one number for each scale: the
    quantized weight, which the layer's product keeps, is all that binarization adds to what autograd keeps.

    Args:
        latent: ``w*``.
        alpha: one number for each scale, of one of the ``scale_shapes`` of ``rows``.
        s: what latents are normalised by; broadcasts against ``latent``.
        mu: sharpness, zero-dimensional.
        pair: ``F`` and ``B``.
        rows: which elements share a scale.
    """
    return cast(Tensor, _QuantizeWeight.apply(latent, alpha, s, mu, pair, rows))  # type: ignore[no-untyped-call]


def quantized(
    latent: Tensor, alpha: Tensor | None, s: Tensor, mu: Sharpness, pair: ForwardBackward, rows: Rows
) -> Tensor:
    """The value alone; an ``alpha`` of None is 1."""
    tensors = (latent, s) if alpha is None else (latent, s, alpha)
    if rows.along_first and (compiled := compiled_value(pair.forward, *tensors)):
        return compiled.value(latent, mu, s, alpha)
    value = pair.forward(latent / s, mu)
    return value if alpha is None else rows.spread(alpha) * value


class _QuantizeWeight(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, latent: Tensor, alpha: Tensor, s: Tensor, mu: Tensor, pair: ForwardBackward, rows: Rows
    ) -> Tensor:
        ctx.pair, ctx.rows, ctx.mu = pair, rows, held(mu, latent.dtype)
        ctx.save_for_backward(latent, alpha, s)
        return quantized(latent, alpha, s, ctx.mu, pair, rows)

    @staticmethod
    @once_differentiable  # autograd does not see into compiled code
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (g,), (latent, alpha, s) = gradients, ctx.saved_tensors
        of_latent = of_alpha = None
        if ctx.needs_input_grad[0]:
            if ctx.rows.along_first and (compiled := compiled_slope(ctx.pair.backward, latent, alpha, s)):
                of_latent = compiled.gradient(latent, ctx.mu, g, s, alpha)
            else:
                of_latent = (ctx.pair.backward(latent / s, ctx.mu) * g).mul_(ctx.rows.spread(alpha) / s)
        if ctx.needs_input_grad[1]:
            of_alpha = ctx.rows.summed(ctx.pair.forward(latent / s, ctx.mu) * g, alpha.shape)
        return of_latent, of_alpha, None, None, None, None
