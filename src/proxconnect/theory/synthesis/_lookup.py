"""Tabulate a function of float32 numbers: one straight line for all numbers with the same leading bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_BITS = 12  # bits of the mantissa: a line is as wide as 2^-12 of the argument
_SHIFT = 23 - _BITS
_SMALLEST, _LARGEST = 127 - 24, 127 + 40  # exponents, biased as in the format
_CELLS = 2 ** (_BITS + 8)


@dataclass(frozen=True)
class Lookup:
    """A table for float32 or narrower types; one line serves below ``2^-24`` and one beyond ``2^40``."""

    lines: tuple[Tensor, Tensor]

    @classmethod
    def of(cls, function: Callable[[Tensor], Tensor]) -> Lookup:
        """Tabulate a function on float64 tensors."""
        key = torch.arange(_SMALLEST << _BITS, (_LARGEST << _BITS) + 1, dtype=torch.int32, device="cpu")
        knots = (key << _SHIFT).view(torch.float32).double()
        offset, slope = torch.empty(2, 2 * _CELLS, dtype=torch.float32, device="cpu").unbind()
        at_zero = function(torch.zeros(1, dtype=torch.float64, device="cpu"))
        for sign, start in ((1.0, _CELLS), (-1.0, 0)):
            values = function(sign * knots)
            x = torch.cat([torch.zeros(1, dtype=torch.float64, device="cpu"), sign * knots])
            y = torch.cat([at_zero, values])
            slopes = y.diff() / x.diff()
            offsets = y[:-1] - slopes * x[:-1]
            cells = torch.arange(_CELLS, dtype=torch.int64, device="cpu") - (_SMALLEST << _BITS) + 1
            cells = cells.clamp(0, len(slopes) - 1)
            offset[start : start + _CELLS] = offsets[cells].float()
            slope[start : start + _CELLS] = slopes[cells].float()
        return cls((offset, slope))

    def __call__(self, w: Tensor) -> Tensor:
        """Look up the values at ``w``, of its shape and dtype."""
        plain = w.detach().float().contiguous().view(-1)
        # The sign is the highest bit, so the keys of negative numbers are the lowest as signed integers.
        key = (plain.view(torch.int32) >> _SHIFT).add_(_CELLS)
        offset, slope = (line.to(w.device).index_select(0, key) for line in self.lines)
        return torch.addcmul(offset, slope, plain).view(w.shape).to(w.dtype)
