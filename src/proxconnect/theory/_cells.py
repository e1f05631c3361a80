"""Integrals over the cells of a grid, and their running sums."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from proxconnect.theory._arrays import Array, Function

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(5)


def integrals(function: Function, start: Array, width: Array) -> tuple[Array, Array]:
    """Integrate over the cells ``[start, start + width]`` by Gauss's rule of five nodes.

    Returns:
        The integrals, and how far the values at the nodes of each cell lie apart.
    """
    nodes = start[:, None] + width[:, None] * (_NODES + 1) / 2
    values = function(nodes.reshape(-1)).reshape(nodes.shape)
    return values @ _WEIGHTS * width / 2, np.ptp(values, axis=1)


def sums_from(origin: int, parts: Tensor) -> Tensor:
    """Sum the integrals over cells from knot ``origin`` to every knot: one value more than ``parts``.

    The sums are 0 at ``origin``. They are formed outwards from there, so that small parts next to it keep
    their digits beside huge ones far out.
    """
    below = -parts[:origin].flip(0).cumsum(0).flip(0)
    return torch.cat([below, parts.new_zeros(1), parts[origin:].cumsum(0)])
