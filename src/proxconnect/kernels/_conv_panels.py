"""Weights of convolutions laid out for the kernels, and how a convolution moves over an image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from proxconnect import _native
from proxconnect.base.eager import pointer
from proxconnect.errors import ProxConnectError
from proxconnect.kernels._address import sign_rows
from proxconnect.kernels._panels import PANEL_WIDTH, WORD_BITS


class ConvPanels:
    """The signs of a 2d convolution's weight, laid out once so that every kernel reads it from front to back.

    Sixteen outputs make a panel; a group of outputs begins a new one. Its words run over the taps (y, x),
    and for each tap over the group's channels: bit ``i`` of ``words[p, t, w, j]`` is the sign of output j of
    panel p at tap t and channel ``32 w + i``. What is left over is zero.

    Args:
        bits: uint8 of shape (out, packed_width(in / groups * kh * kw)) on the CPU, each row contiguous,
            padding bits zero: a weight of ``shape`` as ``docs/format.md`` stores it.
        shape: (out, in / groups, kh, kw).
        groups: groups of channels, a divisor of out.

    Attributes:
        n: outputs.
        channels: inputs, of all groups.
        kernel: (kh, kw).
        groups: groups of channels.
        k: inputs of one output.
        words: int32 of shape (panels, kh * kw, words of a group's channels, 16).
        tap_sums: int32 of shape (panels, kh + 1, kw + 1, 16); element (y, x) adds up the signs of the taps
            above y and left of x.

    Raises:
        ProxConnectError: an argument is not as described.

    >>> ConvPanels(torch.tensor([[5], [3]], dtype=torch.uint8), (2, 1, 2, 2)).words[0, :, 0, :2].T
    tensor([[1, 0, 1, 0],
            [1, 1, 0, 0]], dtype=torch.int32)
    """

    def __init__(self, bits: Tensor, shape: tuple[int, int, int, int], groups: int = 1) -> None:
        if len(shape) != 4 or min(shape) < 1:
            raise ProxConnectError(
                f"{tuple(shape)} is not the shape of a 2d convolution's weight; expected "
                "(out, in / groups, kh, kw), each at least 1"
            )
        self.n, group_channels, *kernel = shape
        if groups < 1 or self.n % groups:
            raise ProxConnectError(f"groups is {groups}; expected a divisor of the {self.n} outputs")
        self.kernel = kernel[0], kernel[1]
        self.channels, self.groups = group_channels * groups, groups
        taps = kernel[0] * kernel[1]
        self.k = group_channels * taps
        rows = sign_rows(bits, "bits", self.k)
        if bits.shape[0] != self.n:
            raise ProxConnectError(
                f"bits has {bits.shape[0]} rows; expected {self.n}, one for each output of {shape}"
            )
        panels = groups * -(-self.n // groups // PANEL_WIDTH)
        self.words = torch.empty(
            panels, taps, -(-group_channels // WORD_BITS), PANEL_WIDTH, dtype=torch.int32, device="cpu"
        )
        self.tap_sums = torch.empty(
            panels, kernel[0] + 1, kernel[1] + 1, PANEL_WIDTH, dtype=torch.int32, device="cpu"
        )
        _native.make_conv_panels(rows, self.arguments())

    def arguments(self) -> tuple[int, int, int, int, int, int, int]:
        """What compiled code takes for this weight."""
        height, width = self.kernel
        addresses = pointer(self.words), pointer(self.tap_sums)
        return *addresses, self.n, self.channels, height, width, self.groups

    def __repr__(self) -> str:
        return f"ConvPanels(n={self.n}, channels={self.channels}, kernel={self.kernel}, groups={self.groups})"


@dataclass(frozen=True)
class Geometry:
    """How a convolution moves over an image; pairs are (y, x).

    Attributes:
        stride: steps from one output to the next, at least 1 and below 2**31, as the others.
        padding: pixels added at each side, at least 0.
        dilation: steps from one tap to the next, at least 1.
        fill: what lies beyond the image: 0 adds nothing to a sum, as torch's zero padding of inputs of -1
            and +1 in training; or +1, or -1.

    Raises:
        ProxConnectError: a value is not as described.

    >>> Geometry(stride=(2, 2), padding=(1, 1)).output_size((8, 7), (3, 3))
    (4, 4)
    """

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    fill: int = 0

    def __post_init__(self) -> None:
        for name, least in (("stride", 1), ("padding", 0), ("dilation", 1)):
            pair = getattr(self, name)
            if not isinstance(pair, tuple) or len(pair) != 2 or min(pair) < least or max(pair) >= 2**31:
                raise ProxConnectError(
                    f"{name} is {pair!r}; expected a pair (y, x) of at least {least} and below 2**31"
                )
        if self.fill not in (0, 1, -1):
            raise ProxConnectError(f"fill is {self.fill!r}; expected 0, +1 or -1")

    def output_size(self, size: tuple[int, int], kernel: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the output: ``(size + 2 padding - dilation (kernel - 1) - 1) // stride + 1``.

        Raises:
            ProxConnectError: the kernel is larger than the padded image.
        """
        (sy, sx), (py, px), (dy, dx) = self.stride, self.padding, self.dilation
        height = (size[0] + 2 * py - dy * (kernel[0] - 1) - 1) // sy + 1
        width = (size[1] + 2 * px - dx * (kernel[1] - 1) - 1) // sx + 1
        if height < 1 or width < 1:
            raise ProxConnectError(
                f"a kernel of {kernel} with dilation {self.dilation} does not fit into an image of {size} "
                f"with padding {self.padding}"
            )
        return height, width

    @cached_property
    def arguments(self) -> tuple[int, int, int, int, int, int, int]:
        """What compiled code takes for this geometry."""
        return *self.stride, *self.padding, *self.dilation, self.fill
