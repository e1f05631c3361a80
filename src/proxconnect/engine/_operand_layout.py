"""Weights of linear layers and convolutions for the kernels: as objects, and as an operator's arguments."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from proxconnect.errors import ProxConnectError
from proxconnect.format.bits import packed_width
from proxconnect.kernels import Affine, ConvPanels, Geometry, Panels, Thresholds
from proxconnect.kernels._address import address_of_shape
from proxconnect.kernels._panels import PANEL_WIDTH, WORD_BITS


class LinearOperand:
    """The weight of a linear layer, from (..., k) to (..., n); packed inputs are (..., bytes).

    ``operands`` are what kernels take, ``arguments`` what an operator takes for them, by ``schema``.
    """

    name: ClassVar[str] = "linear"
    schema: ClassVar[str] = "Tensor words, int k"
    fixed: ClassVar[bool] = False  # whether activations have a fixed number of dimensions

    def __init__(self, panels: Panels) -> None:
        self.n = panels.n
        self.operands = (panels,)
        self.arguments = (panels.words, panels.k)

    @classmethod
    def of(cls, n: int, words: Tensor, k: int) -> Self:
        """The weight of these arguments, without a copy."""
        address_of_shape(words, "words", torch.int32, (-(-n // PANEL_WIDTH), -(-k // WORD_BITS), PANEL_WIDTH))
        panels = Panels.__new__(Panels)
        panels.words, panels.n, panels.k = words, n, k
        return cls(panels)

    @staticmethod
    def rows(x: Tensor) -> Tensor:
        """Activations, floats or bits, as kernels take them."""
        x = x if x.ndim == 2 else x.reshape(-1, x.shape[-1])
        return x if x.stride(1) == 1 else x.contiguous()

    @staticmethod
    def dense(residual: Tensor) -> Tensor:
        """A residual as kernels take it."""
        return residual.reshape(-1, residual.shape[-1]).contiguous()

    @staticmethod
    def result(y: Tensor, x: Tensor) -> Tensor:
        """The floats that a kernel made of ``x``, of the layer's shape."""
        return y if x.ndim == 2 else y.view(*x.shape[:-1], y.shape[-1])

    packed_result = result

    @staticmethod
    def inputs(words: object, k: int) -> int:
        """Products in a sum."""
        return k

    @staticmethod
    def size(x: Tensor, packed: bool, *arguments: Any) -> tuple[Any, ...]:
        """The shape of the output before the channels, which come last."""
        return tuple(x.shape[:-1])


class ConvOperand:
    """The weight of a 2d convolution, from (N, C, H, W) to channels_last; packed inputs: (N, H, W, bytes)."""

    name: ClassVar[str] = "conv2d"
    fixed: ClassVar[bool] = True
    schema: ClassVar[str] = (
        "Tensor words, Tensor tap_sums, int[] shape, int groups, int[] stride, int[] padding, int[] dilation"
    )

    def __init__(self, panels: ConvPanels, geometry: Geometry) -> None:
        self.n = panels.n
        self.operands = (panels, geometry)
        shape = panels.n, panels.channels // panels.groups, *panels.kernel
        moves = geometry.stride, geometry.padding, geometry.dilation
        self.arguments = (panels.words, panels.tap_sums, shape, panels.groups, *moves)

    @classmethod
    def of(
        cls,
        n: int,
        words: Tensor,
        tap_sums: Tensor,
        shape: Sequence[int],
        groups: int,
        *moves: Sequence[int],
    ) -> Self:
        """The weight of these arguments, without a copy."""
        outputs, inputs, height, width = shape
        if outputs != n or n % groups:
            raise ProxConnectError(f"a weight of shape {tuple(shape)} in {groups} groups has not {n} outputs")
        panels = groups * -(-(n // groups) // PANEL_WIDTH)
        address_of_shape(
            words, "words", torch.int32, (panels, height * width, -(-inputs // WORD_BITS), PANEL_WIDTH)
        )
        address_of_shape(tap_sums, "tap_sums", torch.int32, (panels, height + 1, width + 1, PANEL_WIDTH))
        conv = ConvPanels.__new__(ConvPanels)
        conv.tap_sums = tap_sums
        conv.words, conv.n, conv.kernel, conv.groups = words, n, (height, width), groups
        conv.channels, conv.k = inputs * groups, inputs * height * width
        return cls(conv, _geometry(*moves))

    @staticmethod
    def rows(x: Tensor) -> Tensor:
        """Activations, floats or bits, as kernels take them."""
        return x

    @staticmethod
    def dense(residual: Tensor) -> Tensor:
        """A residual as kernels take it."""
        return residual.permute(0, 2, 3, 1).contiguous()

    @staticmethod
    def result(y: Tensor, x: Tensor) -> Tensor:
        """The floats that a kernel made of ``x``, of the layer's shape."""
        return y.permute(0, 3, 1, 2)

    @staticmethod
    def packed_result(y: Tensor, x: Tensor) -> Tensor:
        """The bits that a kernel made of ``x``."""
        return y

    @staticmethod
    def inputs(words: object, tap_sums: object, shape: Sequence[int], *moves: object) -> int:
        """Products in a sum."""
        return math.prod(shape[1:])

    @staticmethod
    def size(
        x: Tensor,
        packed: bool,
        words: Tensor,
        tap_sums: Tensor,
        shape: Sequence[int],
        groups: int,
        *moves: Sequence[int],
    ) -> tuple[Any, ...]:
        """The shape of the output before the channels, which come last."""
        height, width = x.shape[1:3] if packed else x.shape[2:]
        return x.shape[0], *_geometry(*moves).output_size((height, width), (shape[2], shape[3]))


def affine_of(scale: Tensor, bias: Tensor, slope: Tensor | None) -> Affine:
    """``prelu(s * scale + bias)`` over these tensors themselves."""
    n = scale.shape[0]
    for values in (scale, bias) if slope is None else (scale, bias, slope):
        address_of_shape(values, "scale, bias or slope", torch.float32, (n,))
    return unchecked_affine(scale, bias, slope)


def unchecked_affine(scale: Tensor, bias: Tensor, slope: Tensor | None) -> Affine:
    """The same for tensors that a compiler traces, which have no memory yet: the operator will check them."""
    affine = Affine.__new__(Affine)
    affine.n, affine.groups = scale.shape[0], 1
    affine.scale, affine.bias, affine.slope = scale, bias, slope
    return affine


def thresholds_of(threshold: Tensor, flip: Tensor) -> Thresholds:
    """``(s >= threshold) != flip`` over these tensors themselves."""
    n = threshold.shape[0]
    address_of_shape(threshold, "threshold", torch.int32, (n,))
    address_of_shape(flip, "flip", torch.uint8, (1, packed_width(n)))
    thresholds = Thresholds.__new__(Thresholds)
    thresholds.n, thresholds.threshold, thresholds.flip = n, threshold, flip
    return thresholds


def _geometry(stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]) -> Geometry:
    return Geometry((stride[0], stride[1]), (padding[0], padding[1]), (dilation[0], dilation[1]))
