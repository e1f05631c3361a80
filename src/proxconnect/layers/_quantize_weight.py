"""The quantized weight as one node of the autograd graph."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from proxconnect._rows import Rows
from proxconnect.layers._compiled import compiled_slope, compiled_value
from proxconnect.quantizers import ForwardBackward
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
    (weight,) = _QuantizeWeight.apply(latent, alpha, s, mu, pair, rows, False)  # type: ignore[no-untyped-call]
    return cast(Tensor, weight)


def quantize_weight_and_codes(
    latent: Tensor, alpha: Tensor, s: Tensor, mu: Tensor, pair: ForwardBackward, rows: Rows
) -> tuple[Tensor, Tensor]:
    """The same, and ``F_mu(w*/s)``, a constant for the gradient."""
    weight, codes = _QuantizeWeight.apply(latent, alpha, s, mu, pair, rows, True)  # type: ignore[no-untyped-call]
    return weight, codes


class _QuantizeWeight(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        latent: Tensor,
        alpha: Tensor,
        s: Tensor,
        mu: Tensor,
        pair: ForwardBackward,
        rows: Rows,
        with_codes: bool,
    ) -> tuple[Tensor, ...]:
        ctx.pair, ctx.rows, ctx.mu = pair, rows, held(mu, latent.dtype)
        ctx.save_for_backward(latent, alpha, s)
        ctx.set_materialize_grads(False)  # there are none of codes
        compiled = compiled_value(pair.forward, latent, alpha, s) if rows.along_first else None
        if compiled and not with_codes:
            return (compiled.value(latent, ctx.mu, s, alpha),)
        if compiled:
            weight, codes = compiled.value_and_codes(latent, ctx.mu, s, alpha)
        else:
            codes = pair.forward(latent / s, ctx.mu)
            weight = rows.spread(alpha) * codes
        if not with_codes:
            return (weight,)
        ctx.mark_non_differentiable(codes)
        return weight, codes

    @staticmethod
    @once_differentiable  # autograd does not see into compiled code
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        g, (latent, alpha, s) = gradients[0], ctx.saved_tensors
        of_latent = of_alpha = None
        if ctx.needs_input_grad[0]:
            if ctx.rows.along_first and (compiled := compiled_slope(ctx.pair.backward, latent, alpha, s)):
                of_latent = compiled.gradient(latent, ctx.mu, g, s, alpha)
            else:
                of_latent = (ctx.pair.backward(latent / s, ctx.mu) * g).mul_(ctx.rows.spread(alpha) / s)
        if ctx.needs_input_grad[1]:
            of_alpha = ctx.rows.summed(ctx.pair.forward(latent / s, ctx.mu) * g, alpha.shape)
        return of_latent, of_alpha, None, None, None, None, None
