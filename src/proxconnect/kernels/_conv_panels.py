"""Hold the weights of convolutions as the kernels read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from proxconnect.errors import ProxConnectError
from proxconnect.kernels._checks import address_of_shape, sign_rows
from proxconnect.kernels._gateway import native, pointer
from proxconnect.kernels._panels import PANEL_WIDTH, WORD_BITS


@dataclass(eq=False)
class ConvPanels:
    """The signs of a 2d convolution's weight, laid out once so that every kernel reads it from front to back.

    Sixteen outputs make a panel; a group of outputs begins a new one. Its words run over the taps (y, x),
    and for each tap over the group's channels: bit ``i`` of ``words[p, t, w, j]`` is the sign of output j of
    panel p at tap t and channel ``32 w + i``. All other bits are zero.

    Make one by :meth:`lay_out` or :meth:`over`, which check their arguments.

    Attributes:
        words: int32 of shape (panels, kh * kw, words of a group's channels, 16).
        tap_sums: int32 of shape (panels, kh + 1, kw + 1, 16); element (y, x) adds up the signs of the taps
            above y and left of x.
        n: outputs.
        channels: inputs, of all groups.
        kernel: (kh, kw).
        groups: groups of channels.
        k: inputs of one output.
    """

    words: Tensor
    tap_sums: Tensor
    n: int
    channels: int
    kernel: tuple[int, int]
    groups: int

    def __post_init__(self) -> None:
        self.k = self.channels // self.groups * self.kernel[0] * self.kernel[1]

    @classmethod
    def lay_out(cls, bits: Tensor, shape: Sequence[int], groups: int = 1) -> Self:
        """Lay out a weight of ``shape`` as ``docs/format.md`` stores it.

        Args:
            bits: uint8 of shape (out, packed_width(in / groups * kh * kw)) on the CPU, each row contiguous,
                padding bits zero.
            shape: (out, in / groups, kh, kw).
            groups: groups of channels, a divisor of out.

        Raises:
            ProxConnectError: an argument is not as described.

        >>> ConvPanels.lay_out(torch.tensor([[5], [3]], dtype=torch.uint8), (2, 1, 2, 2)).words[0, :, 0, :2].T
        tensor([[1, 0, 1, 0],
                [1, 1, 0, 0]], dtype=torch.int32)
        """
        n, channels, height, width = _checked(shape, groups)
        rows = sign_rows(bits, "bits", channels * height * width)
        if bits.shape[0] != n:
            raise ProxConnectError(
                f"bits has {bits.shape[0]} rows; expected {n}, one for each output of {shape}"
            )
        words, tap_sums = (
            torch.empty(size, dtype=torch.int32, device="cpu") for size in _shapes(shape, groups)
        )
        panels = cls(words, tap_sums, n, channels * groups, (height, width), groups)
        native.make_conv_panels(rows, panels.arguments())
        return panels

    @classmethod
    def over(cls, words: Tensor, tap_sums: Tensor, shape: Sequence[int], groups: int) -> Self:
        """Take words and sums that are laid out already, without a copy.

        Raises:
            ProxConnectError: they are not those of a weight of ``shape`` in so many groups.
        """
        n, channels, height, width = _checked(shape, groups)
        shape_of_words, shape_of_sums = _shapes(shape, groups)
        address_of_shape(words, "words", torch.int32, shape_of_words)
        address_of_shape(tap_sums, "tap_sums", torch.int32, shape_of_sums)
        return cls(words, tap_sums, n, channels * groups, (height, width), groups)

    def arguments(self) -> tuple[int, int, int, int, int, int, int]:
        """Return what compiled code takes for this weight."""
        height, width = self.kernel
        addresses = pointer(self.words), pointer(self.tap_sums)
        return *addresses, self.n, self.channels, height, width, self.groups

    def __repr__(self) -> str:
        return f"ConvPanels(n={self.n}, channels={self.channels}, kernel={self.kernel}, groups={self.groups})"


def _checked(shape: Sequence[int], groups: int) -> tuple[int, int, int, int]:
    """Return ``shape``, once it is that of a weight in so many groups."""
    if len(shape) != 4 or min(shape) < 1:
        raise ProxConnectError(
            f"{tuple(shape)} is not the shape of a 2d convolution's weight; expected "
            "(out, in / groups, kh, kw), each at least 1"
        )
    n, channels, height, width = shape
    if groups < 1 or n % groups:
        raise ProxConnectError(f"groups is {groups}; expected a divisor of the {n} outputs")
    return n, channels, height, width


def _shapes(shape: Sequence[int], groups: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shapes of the words and of the sums of a weight."""
    n, channels, height, width = shape
    panels = groups * -(-n // groups // PANEL_WIDTH)
    words = panels, height * width, -(-channels // WORD_BITS), PANEL_WIDTH
    return words, (panels, height + 1, width + 1, PANEL_WIDTH)
