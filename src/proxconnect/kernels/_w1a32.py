"""Multiply weights of one bit by float32 activations."""

from __future__ import annotations

import torch
from torch import Tensor

from proxconnect.kernels._checks import float_rows
from proxconnect.kernels._epilogues import Affine
from proxconnect.kernels._gateway import native, pointer, run
from proxconnect.kernels._panels import Panels


def w1a32(x: Tensor, weight: Panels, affine: Affine, residual: Tensor | None = None) -> Tensor:
    """Multiply float32 activations by signs.

    ``y = prelu((sum_k x[i, k] w[j, k]) scale[j] + bias[j] + residual[i, j])``. The order of the additions
    depends on k alone (``csrc/interface/products.h`` states it); the error is below that of a plain float32
    product.

    Args:
        x: float32 of shape (m, k) on the CPU, each row contiguous.
        weight: (n, k) signs.
        affine: of n outputs and one group.
        residual: float32 of shape (m, n), contiguous.

    Returns:
        float32 of shape (m, n).

    Raises:
        ProxConnectError: an argument is not as described.

    >>> from proxconnect.kernels import pack_signs
    >>> weight = Panels.lay_out(pack_signs(torch.tensor([[1.0, -1.0]])), 2)
    >>> w1a32(torch.tensor([[1.5, 0.25]]), weight, Affine.of(torch.ones(1)))
    tensor([[1.2500]])
    """
    rows, m = float_rows(x, "x", weight.k), x.shape[0]
    steps = affine.arguments(weight, (m,), residual)
    out = torch.empty(m, weight.n, dtype=torch.float32, device="cpu")
    run(native.w1a32, rows, weight.arguments(), pointer(out), steps)
    return out
