"""Multiply weights of one bit, or ternary ones, by float32 activations, quantized to 8 bits on the way."""

from __future__ import annotations

import torch
from torch import Tensor

from proxconnect.errors import ProxConnectError
from proxconnect.kernels._checks import float_rows
from proxconnect.kernels._epilogues import Affine
from proxconnect.kernels._gateway import native, pointer, run
from proxconnect.kernels._panels import Panels

MOST_INPUTS = native.W1A8_MOST_INPUTS


def w1a8(
    x: Tensor,
    weight: Panels,
    affine: Affine,
    residual: Tensor | None = None,
    *,
    bits: int = 8,
) -> Tensor:
    """Multiply activations, quantized row by row to 8 bits or fewer, by weights of 1 bit or ternary ones.

    ``step[i] = max_k |x[i, k]| / (2**(bits - 1) - 1)`` and ``q = x / step``, rounded to even; with ``s_g``
    the exact sum over the inputs of group g,
    ``y = prelu((sum_g s_g scale[g, j]) step[i] + bias[j] + residual[i, j])``.

    Args:
        x: float32 of shape (m, k) on the CPU, each row contiguous. A row that holds an infinity or a NaN
            gives a row of NaN.
        weight: (n, k), ``k <= 2**24``, of one plane or two.
        affine: of n outputs; it may have groups of inputs.
        residual: float32 of shape (m, n), contiguous.
        bits: of a quantized activation, 2 to 8. Each bit less doubles the rounding error of x; from 7 down
            kernels may look sums of inputs up rather than multiply.

    Returns:
        float32 of shape (m, n).

    Raises:
        ProxConnectError: an argument is not as described.

    >>> from proxconnect.kernels import pack_signs
    >>> weight = Panels.lay_out(pack_signs(torch.tensor([[1.0, -1.0]])), 2)
    >>> w1a8(torch.tensor([[12.7, -3.1]]), weight, Affine.of(torch.ones(1)))
    tensor([[15.8000]])
    """
    rows, m = float_rows(x, "x", weight.k), x.shape[0]
    check_inputs(weight.k)
    greatest = greatest_of(bits)
    steps = affine.arguments(weight, (m,), residual, grouped=True)
    out = torch.empty(m, weight.n, dtype=torch.float32, device="cpu")
    finite = run(
        native.w1a8,
        rows,
        weight.arguments(most_planes=2),
        affine.groups(weight),
        greatest,
        pointer(out),
        steps,
    )
    if not finite:
        bad = not_finite(x)
        out = w1a8(x.masked_fill(bad, 0.0), weight, affine, residual, bits=bits)
        out.masked_fill_(bad, torch.nan)
    return out


def check_inputs(k: int) -> None:
    """Raise :class:`ProxConnectError` if the sums of so many 8-bit activations might not fit."""
    if k > MOST_INPUTS:
        raise ProxConnectError(f"k is {k}; expected at most 2**24 for 8-bit activations, as sums are int32")


def not_finite(x: Tensor) -> Tensor:
    """Mark which of x[0], x[1], ... cannot be quantized, in a shape that broadcasts against x."""
    return ~x.isfinite().all(dim=tuple(range(1, x.ndim)), keepdim=True)


def greatest_of(bits: int) -> int:
    """Return the greatest integer of so many bits, which stands for the greatest activation."""
    if not 2 <= bits <= 8:
        raise ProxConnectError(f"bits is {bits}; expected 2 to 8, those of a quantized activation")
    return int(2 ** (bits - 1) - 1)
