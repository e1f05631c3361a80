"""Weights of convolutions laid out for the kernels, and how they move over images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from proxconnect.engine._packing import pack_signs
from proxconnect.engine._panels import WORD_BITS, Panels
from proxconnect.errors import ProxConnectError
from proxconnect.format.bits import unpack_bits


class ConvPanels:
    """Signs of a convolution's weight, laid out once."""

    def __init__(self, bits: Tensor, shape: tuple[int, int, int, int], groups: int = 1) -> None:
        self.n, group_channels, *kernel = shape
        if groups < 1 or self.n % groups:
            raise ProxConnectError(f"groups is {groups}; expected a divisor of {self.n}, the outputs")
        self.groups, self.channels = groups, group_channels * groups
        self.kernel = (kernel[0], kernel[1])
        self.k = group_channels * kernel[0] * kernel[1]
        signs = unpack_bits(bits, (self.n, group_channels, *self.kernel)) * 2.0 - 1.0
        taps = F.pad(signs.permute(0, 2, 3, 1), (0, -group_channels % WORD_BITS), value=-1.0)
        rows = taps.reshape(groups, self.n // groups, -1)
        width = rows.shape[2]
        self.words = torch.cat([Panels(pack_signs(row.contiguous()), width).words for row in rows])

    def __repr__(self) -> str:
        return f"ConvPanels(n={self.n}, channels={self.channels}, kernel={self.kernel}, groups={self.groups})"


@dataclass(frozen=True)
class Geometry:
    """How a convolution moves over its image."""

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    fill: int = 0

    def output_size(self, size: tuple[int, int], kernel: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the output."""
        out = [
            (size[i] + 2 * self.padding[i] - self.dilation[i] * (kernel[i] - 1) - 1) // self.stride[i] + 1
            for i in (0, 1)
        ]
        return out[0], out[1]
