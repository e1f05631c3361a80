"""Turn laid-out weights into an operator's arguments and back, and activations into a kernel's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Self

from torch import Tensor

from proxconnect.errors import ProxConnectError
from proxconnect.kernels import ConvPanels, Geometry, Panels


class LinearOperand:
    """The weight of a linear layer, from (..., k) to (..., n); packed inputs are (..., bytes).

    ``operands`` are what kernels take, ``arguments`` what an operator takes for them, by ``schema``.
    """

    name: ClassVar[str] = "linear"
    schema: ClassVar[str] = "Tensor words, int k"
    fixed_rank: ClassVar[bool] = False  # activations have any number of dimensions
    channels: ClassVar[int] = -1  # the dimension of floats that holds the channels

    def __init__(self, panels: Panels) -> None:
        self.n = panels.n
        self.operands = (panels,)
        self.arguments = (panels.words, panels.k)

    @classmethod
    def of(cls, n: int, words: Tensor, k: int) -> Self:
        """Take the weight of these arguments, without a copy."""
        return cls(Panels.over(words, n, k))

    @staticmethod
    def rows(x: Tensor) -> Tensor:
        """Reshape activations, floats or bits, to what kernels take."""
        x = x if x.ndim == 2 else x.reshape(-1, x.shape[-1])
        return x if x.stride(1) == 1 else x.contiguous()

    @staticmethod
    def dense(residual: Tensor) -> Tensor:
        """Reshape a residual to what kernels take."""
        return residual.reshape(-1, residual.shape[-1]).contiguous()

    @staticmethod
    def result(y: Tensor, x: Tensor) -> Tensor:
        """Reshape the floats that a kernel made of ``x`` to the layer's output."""
        return y if x.ndim == 2 else y.view(*x.shape[:-1], y.shape[-1])

    packed_result = result

    @staticmethod
    def inputs(words: object, k: int, *scale: object) -> int:
        """Return the number of products in a sum."""
        return k

    @staticmethod
    def size(x: Tensor, packed: bool, *arguments: Any) -> tuple[Any, ...]:
        """Return the shape of the output without the channels, which come last."""
        return tuple(x.shape[:-1])


class ConvOperand:
    """The weight of a 2d convolution, from (N, C, H, W) to channels_last; packed inputs: (N, H, W, bytes)."""

    name: ClassVar[str] = "conv2d"
    fixed_rank: ClassVar[bool] = True
    channels: ClassVar[int] = 1
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
        """Take the weight of these arguments, without a copy."""
        if shape[0] != n:
            raise ProxConnectError(f"a weight of shape {tuple(shape)} has not {n} outputs")
        return cls(ConvPanels.over(words, tap_sums, shape, groups), _geometry(*moves))

    @staticmethod
    def rows(x: Tensor) -> Tensor:
        """Reshape activations, floats or bits, to what kernels take."""
        return x

    @staticmethod
    def dense(residual: Tensor) -> Tensor:
        """Reshape a residual to what kernels take."""
        return residual.permute(0, 2, 3, 1).contiguous()

    @staticmethod
    def result(y: Tensor, x: Tensor) -> Tensor:
        """Reshape the floats that a kernel made of ``x`` to the layer's output."""
        return y.permute(0, 3, 1, 2)

    @staticmethod
    def packed_result(y: Tensor, x: Tensor) -> Tensor:
        """Return the bits that a kernel made of ``x``, whose shape is right already."""
        return y

    @staticmethod
    def inputs(words: object, tap_sums: object, shape: Sequence[int], *moves: object) -> int:
        """Return the number of products in a sum."""
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
        """Return the shape of the output without the channels, which come last."""
        height, width = x.shape[1:3] if packed else x.shape[2:]
        return x.shape[0], *_geometry(*moves).output_size((height, width), (shape[2], shape[3]))


def _geometry(stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]) -> Geometry:
    return Geometry((stride[0], stride[1]), (padding[0], padding[1]), (dilation[0], dilation[1]))
