"""Convolve floats in the faster memory format, unless it rounds otherwise where that counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from proxconnect.engine._torch_operators import needs_dispatcher

# Up to as many numbers, torch computes contiguous images with a form of its own.
_SMALL_IMAGE = 20480
_MOST_REMEMBERED = 64


@dataclass
class FloatConvolution:
    """A 2d convolution of floats, which computes and answers in channels_last where that is faster.

    torch has other code for channels_last than for contiguous images, and may add up in another order. Where
    a later decision depends on the result, the convolution therefore tries both on random images of each new
    size, and takes channels_last if all bits are equal; otherwise the images are made contiguous first.

    Args:
        function: the operator: ``aten.conv2d`` in one of its forms.
        steps: its arguments behind the bias.
        weight: the weight, contiguous; None if each call brings it.
        bias: the bias, or None.
        exact: the result has the bits that torch gives contiguous images.
        first: the images come from the caller, and keep his memory format.
        channels_last: the result is channels_last; otherwise it is contiguous.
        bfloat16: multiply in bfloat16, and add up in float32.
        patches: multiply the patches that the kernel meets as a matrix, which torch does faster; for a
            convolution that is not exact, has its weight, and moves by its whole kernel without padding.
    """

    function: Callable[..., Tensor]
    steps: tuple[Any, ...]
    weight: Tensor | None
    bias: Tensor | None = None
    exact: bool = True
    first: bool = False
    channels_last: bool = True
    bfloat16: bool = False
    patches: bool = False
    _laid_out: Tensor | None = field(default=None, init=False)
    _equal: dict[tuple[Any, ...], bool] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        if self.weight is not None:
            dtype = torch.bfloat16 if self.bfloat16 else self.weight.dtype
            memory_format = torch.contiguous_format if self.patches else torch.channels_last
            self._laid_out = self.weight.detach().to(dtype, memory_format=memory_format)

    def __call__(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        """Convolve ``x`` of shape (N, C, H, W), with ``weight`` if the convolution has none of its own."""
        weight = self.weight if weight is None else weight
        assert weight is not None
        if needs_dispatcher(x):  # a compiler chooses memory formats itself
            return self.function(x, weight, self.bias, *self.steps)
        rows, columns = x.shape[2] // weight.shape[2], x.shape[3] // weight.shape[3]
        if self.patches and min(rows, columns) > 0:
            return self._arranged(self._of_patches(x, rows, columns))
        if self._takes_channels_last(x, weight):
            y = self._in_channels_last(x, weight)
        else:
            y = self.function(x if self.first else x.contiguous(), weight, self.bias, *self.steps)
        return self._arranged(y)

    def _in_channels_last(self, x: Tensor, weight: Tensor) -> Tensor:
        laid_out = weight if self._laid_out is None else self._laid_out
        x = x.contiguous(memory_format=torch.channels_last).to(laid_out.dtype)  # faster than both at once
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return self.function(x, laid_out, bias, *self.steps).to(torch.float32)

    def _of_patches(self, x: Tensor, rows: int, columns: int) -> Tensor:
        assert self._laid_out is not None
        height, width = self._laid_out.shape[2:]
        x = x[:, :, : rows * height, : columns * width].to(self._laid_out.dtype)
        patches = x.unflatten(3, (columns, width)).unflatten(2, (rows, height)).permute(0, 2, 4, 1, 3, 5)
        bias = None if self.bias is None else self.bias.to(x.dtype)
        y = functional.linear(patches.flatten(3), self._laid_out.flatten(1), bias)
        return y.to(torch.float32).permute(0, 3, 1, 2)

    def _arranged(self, y: Tensor) -> Tensor:
        return y.contiguous(
            memory_format=torch.channels_last if self.channels_last else torch.contiguous_format
        )

    def _takes_channels_last(self, x: Tensor, weight: Tensor) -> bool:
        if x.numel() <= _SMALL_IMAGE:  # torch has a faster form for these, if they are contiguous
            return not self.exact and not x.is_contiguous()
        return not self.exact or self._gives_equal_bits(x, weight)

    def _gives_equal_bits(self, x: Tensor, weight: Tensor) -> bool:
        """Tell whether both memory formats give the same bits for images of this size."""
        key = (x.shape, torch.get_num_threads(), torch._C._get_mkldnn_enabled())
        if key not in self._equal:
            generator = torch.Generator(device="cpu").manual_seed(0)
            images = torch.randn(x.shape, generator=generator, dtype=torch.float32, device="cpu")
            contiguous = self.function(images, weight, self.bias, *self.steps)
            if len(self._equal) >= _MOST_REMEMBERED:
                self._equal.clear()
            self._equal[key] = torch.equal(contiguous, self._in_channels_last(images, weight))
        return self._equal[key]
