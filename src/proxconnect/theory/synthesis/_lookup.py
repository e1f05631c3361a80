"""Tables of a backward quantizer and its integral in training, and how torch reads them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from proxconnect.kernels import TABLE_ROOT_SHIFT, TABLE_SPLIT_BITS, TabulatedFunction
from proxconnect.quantizers.maps import Elementwise
from proxconnect.theory._arrays import Array
from proxconnect.theory.sampling.probe import Probe
from proxconnect.theory.synthesis._quadrature import table_of
from proxconnect.theory.synthesis._scaling import power_of
from proxconnect.theory.synthesis._tabulation import Tabulation, tabulate

_ROOT_WIDTH = 1 << TABLE_ROOT_SHIFT
_PARTS = 1 << TABLE_SPLIT_BITS


@lru_cache(maxsize=16)
def tabulation_of(backward: Elementwise, mu: float) -> Tabulation:
    """Tabulate ``B`` and its integral at one sharpness, 1 where that stands for all."""
    probe = Probe(backward, "backward", mu)
    probe.precision = _precision(backward)
    edges = None if power_of(backward) is None else table_of(backward, mu).edges.numpy()
    return tabulate(probe, _grid() if edges is None else edges)


@lru_cache(maxsize=64)
def _precision(backward: Elementwise) -> torch.dtype:
    probe = Probe(backward, "backward", 1.0)
    probe.steady(np.linspace(-1.0, 1.0, 101))
    return probe.precision


@lru_cache(maxsize=1)
def _grid() -> Array:
    """Make the latents where a table that has to be made in no time is compared with ``B``."""
    exponents = np.arange(127 - 4, 127 + 2) << 23
    bits = (exponents[:, None] + (np.arange(1 << 11) << 12)).ravel()
    size = bits.astype(np.uint32).view(np.float32).astype(np.float64)
    return np.concatenate([size, -size])


def look_up(function: TabulatedFunction, w: Tensor) -> Tensor:
    """Evaluate a function by its table, in float32, in the shape and dtype of ``w``."""
    cells = function.cells.to(w.device)
    argument = (w.detach().float() * function.inner).contiguous()
    bits = argument.view(torch.int32)
    at = (bits >> TABLE_ROOT_SHIFT).bitwise_and_((1 << (32 - TABLE_ROOT_SHIFT)) - 1)
    width = torch.full_like(bits, _ROOT_WIDTH)
    links = cells.view(torch.int32)[:, 1]
    for shift in range(TABLE_ROOT_SHIFT - TABLE_SPLIT_BITS, -1, -TABLE_SPLIT_BITS):
        split = cells[:, 0][at].isnan() & (links[at] != 0)
        at = torch.where(split, links[at] + ((bits >> shift) & (_PARTS - 1)), at)
        width = torch.where(split, 1 << shift, width)
    t = (bits & (width - 1)).float() / width - 0.5
    a, b, c, d = cells[at].unbind(-1)
    value = ((d * t + c) * t + b) * t + a
    return (function.factor * value + function.shift).to(w.dtype)
