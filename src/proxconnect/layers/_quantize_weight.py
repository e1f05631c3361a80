"""The quantized weight as one node of the autograd graph."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from proxconnect.base.eager import differentiated_forwards, transformed, watched
from proxconnect.base.rows import Rows
from proxconnect.kernels import fits_compiled_code, mean_magnitudes
from proxconnect.layers._compiled import CompiledPair
from proxconnect.quantizers.pair import evaluated, present_sharpness


def quantize_weight(
    latent: Tensor, alpha: Tensor | None, s: Tensor, mu: Tensor, pair: CompiledPair, rows: Rows
) -> Tensor:
    """Compute ``w = alpha F_mu(w*/s)``.

    The gradients are ``dl/dw* = B_mu(w*/s) (alpha/s) g`` and ``dl/dalpha = sum F_mu(w*/s) g``. The backward
    pass keeps ``latent``, which is a parameter, and one number for each scale. The product of the layer keeps
    the quantized weight; binarization adds nothing else to the memory of autograd.

    Args:
        latent: ``w*``.
        alpha: one number for each scale, of one of the ``scale_shapes`` of ``rows``; None takes the mean of
            ``|w*|`` of each row, a constant for the gradient, in the same pass.
        s: the normalisation of the latents; broadcasts against ``latent``.
        mu: sharpness, zero-dimensional.
        pair: ``F`` and ``B``.
        rows: the elements that share a scale.
    """
    if transformed() or differentiated_forwards():
        return _by_formula(latent, alpha, s, mu, pair, rows)[0]
    weight: Tensor
    weight, _, _ = _QuantizeWeight.apply(latent, alpha, s, mu, pair, rows, False)  # type: ignore[no-untyped-call]
    return weight


def quantize_weight_and_codes(
    latent: Tensor, alpha: Tensor | None, s: Tensor, mu: Tensor, pair: CompiledPair, rows: Rows
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute :func:`quantize_weight`, and return ``F_mu(w*/s)``, without gradient, and ``alpha`` too."""
    if transformed() or differentiated_forwards():
        return _by_formula(latent, alpha, s, mu, pair, rows)
    weight, codes, mean = _QuantizeWeight.apply(latent, alpha, s, mu, pair, rows, True)  # type: ignore[no-untyped-call]
    return weight, codes, mean if alpha is None else alpha


def _by_formula(
    latent: Tensor, alpha: Tensor | None, s: Tensor, mu: Tensor, pair: CompiledPair, rows: Rows
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute weight, codes and ``alpha`` by the formula, for transforms of functions and forward mode."""
    scale = mean_magnitudes(rows.turned(latent.detach())) if alpha is None else alpha
    codes = pair.pair(latent / s, mu)
    return rows.spread(scale) * codes, codes.detach(), scale


class _QuantizeWeight(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        latent: Tensor,
        alpha: Tensor | None,
        s: Tensor,
        mu: Tensor,
        pair: CompiledPair,
        rows: Rows,
        with_codes: bool,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        scales = (s,) if alpha is None else (s, alpha)
        ctx.pair, ctx.rows, ctx.compiled = (
            pair,
            rows,
            rows.along_first and fits_compiled_code(latent, *scales),
        )
        ctx.set_materialize_grads(False)  # there are none of codes
        if ctx.compiled and pair.value:
            ctx.mu = mu.item()
            weight, codes, scale = pair.value.weight(latent, ctx.mu, s, alpha, with_codes)
        else:
            ctx.mu = present_sharpness(mu, latent.dtype)
            scale = mean_magnitudes(rows.turned(latent)) if alpha is None else alpha
            codes = evaluated(pair.pair.forward, latent / s, ctx.mu)
            weight = rows.spread(scale) * codes
        ctx.save_for_backward(latent, scale, s)
        if not with_codes:
            return weight, None, None
        means = scale if alpha is None else None
        ctx.mark_non_differentiable(*(each for each in (codes, means) if each is not None))
        return weight, codes, means

    @staticmethod
    @once_differentiable  # autograd does not see into compiled code
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        g, (latent, alpha, s) = gradients[0], ctx.saved_tensors
        pair, rows, slope = ctx.pair.pair, ctx.rows, ctx.pair.slope
        of_latent = of_alpha = None
        if ctx.needs_input_grad[0]:
            if (
                slope and ctx.compiled and fits_compiled_code(latent) and not watched(g)
            ):  # still: a module may have moved
                of_latent = slope.gradient(latent, ctx.mu, g, s, alpha)
            else:
                of_latent = (evaluated(pair.backward, latent / s, ctx.mu) * g).mul_(rows.spread(alpha) / s)
        if ctx.needs_input_grad[1]:
            of_alpha = rows.summed(evaluated(pair.forward, latent / s, ctx.mu) * g, alpha.shape)
        return of_latent, of_alpha, None, None, None, None, None
