"""Find the precision in which a function computes, whatever the type of its argument and result."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from proxconnect.theory._arrays import Array

DOUBLE = torch.float64
_NARROWER = (torch.float16, torch.bfloat16, torch.float32)
_TRIALS = 4096
_MOST_LEVELS = 64
_BINADES, _PER_BINADE = 3, 16


def inner_precision(function: Callable[[Array], Array], mu: float) -> torch.dtype:
    """Find the narrowest float type in which ``function`` computes, as its values show it.

    A function computes in a narrower type if it does not change when its argument is rounded to that type. It
    also does if all of its values are numbers of that type and use the last bit in several binades. (The
    values of a staircase with 256 even steps are numbers of bfloat16 too, but near 0 they leave the last bits
    unused.)
    """
    generator = np.random.default_rng(0)
    size = 10 ** generator.uniform(-3, 2, _TRIALS)
    w = np.where(generator.random(_TRIALS) < 0.5, -size, size) / mu
    values = function(w)
    finite = np.isfinite(values)
    if len(np.unique(values[finite])) <= _MOST_LEVELS:
        return DOUBLE
    for dtype in _NARROWER:
        rounded = _round(w, dtype)
        if np.array_equal(function(rounded), values, equal_nan=True) or _fills(values[finite], dtype):
            return dtype
    return DOUBLE


def _round(w: Array, dtype: torch.dtype) -> Array:
    rounded: Tensor = torch.from_numpy(w).to(dtype).double()
    return rounded.numpy()


def _fills(values: Array, dtype: torch.dtype) -> bool:
    """Return True if all values are numbers of ``dtype`` and use its last bit in several binades."""
    if not np.array_equal(_round(values, dtype), values):
        return False
    info = torch.finfo(dtype)
    normal = np.abs(values[np.abs(values) >= info.tiny])
    mantissa, exponent = np.frexp(normal)
    odd = (mantissa * (2 / info.eps)) % 2 == 1
    counts = np.unique(exponent[odd], return_counts=True)[1]
    return int((counts >= _PER_BINADE).sum()) >= _BINADES
