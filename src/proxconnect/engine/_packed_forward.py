"""A packed layer's computation on a kernel: its input, its bias, its accumulator."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from proxconnect.base.eager import differentiated, pointer, traced, watched
from proxconnect.engine._kernel_call import Product, lay_out, scale_of
from proxconnect.engine._layer_geometry import Use
from proxconnect.engine._operand_layout import affine_of, unchecked_affine
from proxconnect.engine.weight import PackedWeight
from proxconnect.errors import ProxConnectError
from proxconnect.kernels import Affine
from proxconnect.layers import Accumulator, BinaryInput


class LayerProduct:
    """What a packed ``Linear``, ``Conv1d`` or ``Conv2d`` computes on a kernel.

    Args:
        kernel: its name.
        use: how the layer uses its weight.
        weight: the packed weight, without groups of inputs.
        layer: whose bias, and accumulator if there is one, follow the product.
    """

    def __init__(self, kernel: str, use: Use, weight: PackedWeight, layer: nn.Module) -> None:
        self.kernel = kernel
        outputs, channels, *_ = weight.form.rows.row_shape
        self.channels = channels * use.groups
        self.dimensions = None if use.operation == "linear" else len(weight.form.shape)
        self.scale = scale_of(weight)
        self.no_bias = torch.zeros(outputs, dtype=torch.float32, device="cpu")
        accumulator = self._accumulator(layer)
        wrap = accumulator is not None and (accumulator.bits, accumulator.overflow) == (8, "wrap")
        operand, flat = lay_out(weight, use), use.operation == "conv1d"
        epilogue = affine_of(self.scale, self._bias(layer).detach(), None)
        self.product = Product(kernel, operand, flat, epilogue, wrap)
        self.sums = replace(self.product, epilogue=Affine(torch.ones_like(self.scale)), wrap=False)

    def __call__(self, input: Tensor, layer: nn.Module) -> Tensor:
        """The layer's output for an input that it takes."""
        bias, product, x = self._bias(layer), self.product, input
        if self.kernel == "w1a1":
            x = product.packed(input)
            accumulator = self._accumulator(layer)
            if accumulator is not None and (not product.wrap or accumulator._forward_hooks):
                sums = accumulator(self.sums(x))
                shape = (-1, *(1,) * (sums.ndim - 2)) if self.dimensions else (-1,)
                return _formatted(sums * self.scale.view(shape) + bias.view(shape), input)
        affine = product.affine
        if watched(x, bias):
            affine = unchecked_affine(self.scale, bias, None)
        elif pointer(bias) != pointer(affine.bias):  # another tensor has become the layer's bias
            affine = affine_of(self.scale, bias, None)
        y = product.floats(x, affine)
        return _formatted(y, input) if self.dimensions else y

    def takes(self, input: Tensor, layer: nn.Module) -> bool:
        """Whether the kernel computes for a fitting input: for a batch, without derivatives."""
        if differentiated(input, layer._parameters.get("bias")):
            return False
        return self.dimensions in (None, input.ndim)

    def refuse_misfit(self, input: Tensor) -> None:
        """Raise :class:`ProxConnectError` for another dtype, device, rank or number of channels."""
        if traced():  # the operator will check
            return
        dimensions = self.dimensions
        rank = input.ndim > 0 if dimensions is None else input.ndim in (dimensions, dimensions - 1)
        channel = -1 if dimensions is None else 1 - dimensions
        if not rank or input.shape[channel] != self.channels:
            wanted = "(..., k)" if dimensions is None else "(N, C, ...)"
            raise ProxConnectError(
                f"input has shape {tuple(input.shape)}; expected {wanted} with {self.channels} inputs"
            )
        if not input.is_cpu or (input.dtype != torch.float32 and not torch.is_autocast_enabled("cpu")):
            raise ProxConnectError(
                f"input is {input.dtype} on {input.device}, but the packed layer is torch.float32 on cpu; "
                "move either with .to()"
            )

    def _bias(self, layer: nn.Module) -> Tensor:
        bias = layer._parameters.get("bias")
        return self.no_bias if bias is None else bias

    def _accumulator(self, layer: nn.Module) -> Accumulator | None:
        return cast(BinaryInput, layer).accumulator if self.kernel == "w1a1" else None


def _formatted(y: Tensor, input: Tensor) -> Tensor:
    """``y`` in the memory format of the input, as torch's own layers do: code behind may view it."""
    return y.contiguous() if input.is_contiguous() else y
