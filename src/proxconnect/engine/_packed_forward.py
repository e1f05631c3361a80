"""Compute the forward of a packed layer on a kernel: its input, its bias, its accumulator."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from proxconnect.base.eager import differentiated, memory_address, traced, unobserved, watched
from proxconnect.engine._kernel_call import KernelCall, affine_of, lay_out
from proxconnect.engine._kernel_choice import ROWS
from proxconnect.engine._layer_geometry import LayerGeometry
from proxconnect.engine.weight import PackedWeight
from proxconnect.errors import ProxConnectError
from proxconnect.kernels import Affine, PreparedCall
from proxconnect.layers import Accumulator, BinaryInput


class PackedLookUp:
    """The forward of a packed ``Embedding``: the rows that are asked for, unpacked.

    Args:
        weight: the packed weight.
    """

    kernel = ROWS

    def __init__(self, weight: PackedWeight) -> None:
        self.weight = weight

    def at_once(self, input: Tensor, layer: nn.Module) -> None:
        """Leave every input to the look-up."""

    def __call__(self, input: Tensor, layer: nn.Module) -> Tensor:
        """Compute the layer's output."""
        return self.weight.rows(input)

    def computes_for(self, input: Tensor, layer: nn.Module) -> bool:
        """Tell that any input that fits is looked up: neither it nor the weight has a gradient."""
        return True

    def refuse_misfit(self, input: Tensor) -> None:
        """Leave the check of the input to the look-up."""


class PackedForward:
    """The forward of a packed ``Linear``, ``Conv1d`` or ``Conv2d`` on a kernel.

    Args:
        kernel: the name of the kernel.
        geometry: how the layer moves over its input.
        weight: the packed weight.
        layer: the layer; its bias, and its accumulator if there is one, follow the product.
    """

    def __init__(self, kernel: str, geometry: LayerGeometry, weight: PackedWeight, layer: nn.Module) -> None:
        self.kernel = kernel
        outputs, channels, *_ = weight.form.rows.row_shape
        self.channels = channels * geometry.groups
        self.dimensions = None if geometry.operation == "linear" else len(weight.form.shape)
        self.zeros = torch.zeros(outputs, dtype=torch.float32, device="cpu")
        accumulator = self._accumulator(layer)
        wrap = accumulator is not None and (accumulator.bits, accumulator.overflow) == (8, "wrap")
        operand, flat = lay_out(weight, geometry), geometry.operation == "conv1d"
        epilogue = self._with_bias(affine_of(weight), self._bias(layer).detach())
        self.product = KernelCall(kernel, operand, flat, epilogue, wrap)
        takes_floats = geometry.operation == "linear" and kernel != "w1a1"
        self._prepared = self.product.prepared if takes_floats else None
        self._without_bias = layer._parameters.get("bias") is None
        if kernel == "w1a1":
            self.sums = replace(self.product, epilogue=Affine.of(torch.ones_like(self.zeros)), wrap=False)

    def at_once(self, input: Tensor, layer: nn.Module) -> Tensor | None:
        """Compute the output of a linear layer, for an input that fits and that nobody watches; else None.

        It is what :meth:`__call__` computes, in a fraction of the time that Python takes for that.
        """
        if self._prepared is None or not unobserved(input):
            return None
        prepared = self.prepared_call(layer)
        return None if prepared is None else cast(Tensor | None, prepared(input))

    def prepared_call(self, layer: nn.Module) -> PreparedCall | None:
        """Return what computes a linear layer of inputs that nobody watches; None if its bias needs more."""
        prepared, bias = self._prepared, layer._parameters.get("bias")
        if prepared is None or (bias is None and self._without_bias):
            return prepared
        if memory_address(self.zeros if bias is None else bias) != prepared.bias_address:
            return None
        wants_gradient = bias is not None and bias.requires_grad and torch.is_grad_enabled()
        return None if wants_gradient else prepared

    def __call__(self, input: Tensor, layer: nn.Module) -> Tensor:
        """Compute the layer's output."""
        bias, product, x = self._bias(layer), self.product, input
        if self.kernel == "w1a1":
            x = product.pack_input(input)
            accumulator = self._accumulator(layer)
            if accumulator is not None and (not product.wrap or accumulator._forward_hooks):
                sums = accumulator(self.sums(x))
                shape = (-1, *(1,) * (sums.ndim - 2)) if self.dimensions else (-1,)
                return _formatted(sums * product.affine.scale.view(shape) + bias.view(shape), input)
        affine = product.affine
        if watched(x, bias):
            affine = replace(affine, bias=bias)  # the operator will check it
        elif memory_address(bias) != memory_address(
            affine.bias
        ):  # another tensor has become the layer's bias
            affine = self._with_bias(affine, bias)
        y = product.to_floats(x, affine)
        return _formatted(y, input) if self.dimensions else y

    def computes_for(self, input: Tensor, layer: nn.Module) -> bool:
        """Tell whether the kernel computes for an input that fits: a batch, without derivatives."""
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

    @staticmethod
    def _with_bias(affine: Affine, bias: Tensor) -> Affine:
        return Affine.over(affine.scale, bias, group=affine.group)

    def _bias(self, layer: nn.Module) -> Tensor:
        bias = layer._parameters.get("bias")
        return self.zeros if bias is None else bias

    def _accumulator(self, layer: nn.Module) -> Accumulator | None:
        return cast(BinaryInput, layer).accumulator if self.kernel == "w1a1" else None


def _formatted(y: Tensor, input: Tensor) -> Tensor:
    """Lay ``y`` out in the memory format of the input, as torch's layers do: later code may view it."""
    return y.contiguous() if input.is_contiguous() else y
