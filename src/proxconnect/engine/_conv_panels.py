"""Weights of convolutions laid out for the kernels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from proxconnect.engine._address import sign_rows
from proxconnect.engine._panels import PANEL_WIDTH, WORD_BITS
from proxconnect.format.bits import pack_bits, unpack_bits


@dataclass(frozen=True)
class Geometry:
    """How a kernel moves over an image, and what lies beyond the image's edge (0 adds nothing to a sum)."""

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    fill: int = 0

    def output_size(self, size: tuple[int, int], kernel: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the output."""
        return (
            (size[0] + 2 * self.padding[0] - self.dilation[0] * (kernel[0] - 1) - 1) // self.stride[0] + 1,
            (size[1] + 2 * self.padding[1] - self.dilation[1] * (kernel[1] - 1) - 1) // self.stride[1] + 1,
        )


class ConvPanels:
    """Signs of a convolution's weight by panels of 16 outputs: ``words[panel, tap, channel word, 16]``."""

    def __init__(self, bits: Tensor, shape: tuple[int, int, int, int], groups: int = 1) -> None:
        self.n, inputs, *kernel = shape
        self.kernel = (kernel[0], kernel[1])
        self.groups, self.channels = groups, inputs * groups
        self.k = inputs * kernel[0] * kernel[1]
        sign_rows(bits, "bits", self.k)
        taps = unpack_bits(bits, shape, torch.float32).flatten(2).transpose(1, 2)  # (n, taps, inputs)
        words = pack_bits(taps.reshape(-1, inputs))
        words = torch.nn.functional.pad(words, (0, -words.shape[1] % (WORD_BITS // 8)))
        words = words.contiguous().view(torch.int32).view(groups, self.n // groups, taps.shape[1], -1)
        words = torch.nn.functional.pad(words, (0, 0, 0, 0, 0, -(self.n // groups) % PANEL_WIDTH))
        panels = words.flatten(0, 1).unflatten(0, (-1, PANEL_WIDTH))
        self.words = panels.permute(0, 2, 3, 1).contiguous()
        self.tap_sums = torch.zeros(
            self.words.shape[0], kernel[0] + 1, kernel[1] + 1, PANEL_WIDTH, dtype=torch.int32
        )
