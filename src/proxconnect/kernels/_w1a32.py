"""Multiply weights of one bit, or ternary ones, by float32 activations."""

from __future__ import annotations

import torch
from torch import Tensor

from proxconnect.kernels._checks import float_rows
from proxconnect.kernels._epilogues import Affine
from proxconnect.kernels._gateway import native, pointer, run
from proxconnect.kernels._panels import Panels


def w1a32(x: Tensor, weight: Panels, affine: Affine, residual: Tensor | None = None) -> Tensor:
    """Multiply float32 activations by weights of -1 and 1, or of -1, 0 and 1.

    With ``s_g`` the sum over the inputs k of group g of ``x[i, k] w[j, k]``,
    ``y = prelu((sum_g s_g scale[g, j]) + bias[j] + residual[i, j])``. The order of the additions depends on k
    and the groups alone (``csrc/interface/products.h`` states it); the error is below that of a plain float32
    product.

    Args:
        x: float32 of shape (m, k) on the CPU, each row contiguous.
        weight: (n, k), of one plane or two.
        affine: of n outputs; it may have groups of inputs.
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
    steps = affine.arguments(weight, (m,), residual, grouped=True)
    out = torch.empty(m, weight.n, dtype=torch.float32, device="cpu")
    run(
        native.w1a32,
        rows,
        weight.arguments(most_planes=2),
        affine.groups(weight),
        pointer(out),
        steps,
    )
    return out
