"""The product of a layer with binary input and its scale as one node of the autograd graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from torch.nn import functional

from proxconnect.kernels import fits_compiled_code, scale_channels_


class LinearMap(Protocol):
    """The linear map of a layer, with a weight and without bias."""

    def __call__(self, input: Tensor, weight: Tensor) -> Tensor:
        """Apply the map; channels of the output lie along dimension -1 or 1."""

    def gradients(self, g: Tensor, input: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the gradients of input and weight from the gradient of the output."""


@dataclass(frozen=True)
class MatrixProduct:
    """The linear map ``input @ weight.T``."""

    def __call__(self, input: Tensor, weight: Tensor) -> Tensor:
        """Map ``(..., in), (out, in)`` to ``(..., out)``."""
        return functional.linear(input, weight)

    def gradients(self, g: Tensor, input: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Compute ``g @ weight`` and ``g.T @ input``."""
        return g @ weight, g.reshape(-1, g.shape[-1]).T @ input.reshape(-1, input.shape[-1])


@dataclass(frozen=True)
class Convolution:
    """A convolution of inputs of shape ``(N, in, ...)``; with ``output_padding`` a transposed one."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    output_padding: tuple[int, ...] | None = None

    def __call__(self, input: Tensor, weight: Tensor) -> Tensor:
        """Convolve to ``(N, out, ...)``."""
        spatial = input.ndim - 2
        if self.output_padding is None:
            return _CONVOLUTIONS[spatial](
                input, weight, None, self.stride, self.padding, self.dilation, self.groups
            )
        return _TRANSPOSED[spatial](
            input, weight, None, self.stride, self.padding, self.output_padding, self.groups, self.dilation
        )

    def gradients(self, g: Tensor, input: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the gradients of the convolution."""
        transposed = self.output_padding is not None
        of_input, of_weight, _ = torch.ops.aten.convolution_backward(
            *(g, input, weight, None, self.stride, self.padding, self.dilation),
            *(transposed, self.output_padding or (0,) * len(self.stride), self.groups, (True, True, False)),
        )
        return of_input, of_weight


_CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {
    1: functional.conv1d,
    2: functional.conv2d,
    3: functional.conv3d,
}
_TRANSPOSED: dict[int, Callable[..., Tensor]] = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}


def scaled_product(
    input: Tensor, weight: Tensor, codes: Tensor, scale: Tensor, bias: Tensor | None, product: LinearMap
) -> Tensor:
    """Compute ``alpha product(x, q) + b`` with the gradients of ``product(x, w) + b``.

    The two are equal up to rounding, since ``w = alpha q`` is the weight. The first has exact sums if ``x``
    and ``q`` are codes, and the gradients of the second take no pass over the outputs.

    Args:
        input: ``x``.
        weight: ``w``.
        codes: ``q``, a constant for the gradient.
        scale: ``alpha``, one number or one for each channel, a constant for the gradient.
        bias: ``b``, one number for each channel.
        product: the linear map.
    """
    return cast(Tensor, _ScaledProduct.apply(input, weight, codes, scale, bias, product))  # type: ignore[no-untyped-call]


class _ScaledProduct(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        weight: Tensor,
        codes: Tensor,
        scale: Tensor,
        bias: Tensor | None,
        product: LinearMap,
    ) -> Tensor:
        ctx.product = product
        ctx.save_for_backward(input, weight)
        return scale_outputs_(product(input, codes), scale, bias, _channels(product))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (g,), (input, weight) = gradients, ctx.saved_tensors
        of_input, of_weight = ctx.product.gradients(g, input, weight)
        others = [dim for dim in range(g.ndim) if dim != _channels(ctx.product) % g.ndim]
        of_bias = g.sum(dim=others) if ctx.needs_input_grad[4] else None
        return of_input, of_weight, None, None, of_bias, None


def _channels(product: LinearMap) -> int:
    return 1 if isinstance(product, Convolution) else -1


def scale_outputs_(y: Tensor, scale: Tensor, bias: Tensor | None, channels: int) -> Tensor:
    """Compute ``y * scale + bias`` in place if nothing else refers to ``y``, rounding at each step.

    Args:
        y: any shape.
        scale: one number or one for each channel.
        bias: one number for each channel.
        channels: the dimension of the channels.
    """
    innermost = y.movedim(channels, -1)
    n = innermost.shape[-1]
    vectors = [scale] if bias is None else [scale, bias]
    if scale.numel() == n and innermost.is_contiguous() and fits_compiled_code(y.detach(), *vectors):
        scale_channels_(innermost, scale, bias)
        return y
    innermost.mul_(scale.reshape(-1))
    if bias is not None:
        innermost.add_(bias)
    return y
