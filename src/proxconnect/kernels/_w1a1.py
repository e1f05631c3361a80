"""Multiply weights of one bit by activations of one bit."""

from __future__ import annotations

import torch
from torch import Tensor

from proxconnect.format.bits import packed_width
from proxconnect.kernels._checks import sign_rows
from proxconnect.kernels._epilogues import Affine, Thresholds
from proxconnect.kernels._gateway import native, pointer, run
from proxconnect.kernels._panels import Panels


def w1a1_sums(a: Tensor, weight: Panels, *, wrap: bool = False) -> Tensor:
    """Multiply two matrices of signs, exactly.

    ``s[i, j] = sum_k a[i, k] w[j, k] = k - 2 popcount(a[i] xor w[j])``; with ``wrap`` kept in an accumulator
    of 8 bits, ``((s + 128) mod 256) - 128``.

    Args:
        a: uint8 of shape (m, packed_width(k)) on the CPU, each row contiguous, padding bits zero.
        weight: (n, k) signs.
        wrap: keep 8 bits of the sum.

    Returns:
        int32 of shape (m, n).

    Raises:
        ProxConnectError: ``a`` is not as described.

    >>> from proxconnect.kernels import pack_signs
    >>> a = pack_signs(torch.tensor([[1.0, -1.0, 1.0]]))
    >>> weight = Panels.lay_out(pack_signs(torch.tensor([[1.0, 1.0, 1.0], [-1.0, 1.0, -1.0]])), 3)
    >>> w1a1_sums(a, weight)
    tensor([[ 1, -3]], dtype=torch.int32)
    """
    rows, m = sign_rows(a, "a", weight.k), a.shape[0]
    out = torch.empty(m, weight.n, dtype=torch.int32, device="cpu")
    run(native.w1a1_sums, rows, weight.arguments(), wrap, pointer(out))
    return out


def w1a1_affine(
    a: Tensor, weight: Panels, affine: Affine, residual: Tensor | None = None, *, wrap: bool = False
) -> Tensor:
    """Multiply two matrices of signs, then take an affine function of each sum in float32.

    Args:
        a: as for :func:`w1a1_sums`.
        weight: (n, k) signs.
        affine: of n outputs and one group.
        residual: float32 of shape (m, n), contiguous.
        wrap: keep 8 bits of the sum.

    Returns:
        float32 of shape (m, n).

    Raises:
        ProxConnectError: an argument is not as described.

    >>> from proxconnect.kernels import pack_signs
    >>> a, weight = pack_signs(torch.ones(1, 3)), Panels.lay_out(pack_signs(torch.ones(2, 3)), 3)
    >>> w1a1_affine(a, weight, Affine.of(torch.tensor([0.5, 2.0]), torch.tensor([0.0, -7.0])))
    tensor([[ 1.5000, -1.0000]])
    """
    rows, m = sign_rows(a, "a", weight.k), a.shape[0]
    steps = affine.arguments(weight, (m,), residual)
    out = torch.empty(m, weight.n, dtype=torch.float32, device="cpu")
    run(native.w1a1_affine, rows, weight.arguments(), wrap, pointer(out), steps)
    return out


def w1a1_signs(a: Tensor, weight: Panels, thresholds: Thresholds, *, wrap: bool = False) -> Tensor:
    """Multiply two matrices of signs, then decide on each sum: the next layer's activations.

    Args:
        a: as for :func:`w1a1_sums`.
        weight: (n, k) signs.
        thresholds: of n outputs.
        wrap: keep 8 bits of the sum.

    Returns:
        uint8 of shape (m, packed_width(n)).

    Raises:
        ProxConnectError: an argument is not as described.

    >>> from proxconnect.kernels import pack_signs
    >>> a, weight = pack_signs(torch.ones(1, 3)), Panels.lay_out(pack_signs(torch.ones(2, 3)), 3)
    >>> w1a1_signs(a, weight, Thresholds.of(torch.ones(2), torch.tensor([-3.0, -4.0]), k=3))
    tensor([[1]], dtype=torch.uint8)
    """
    rows, m = sign_rows(a, "a", weight.k), a.shape[0]
    steps = thresholds.arguments(weight)
    out = torch.empty(m, packed_width(weight.n), dtype=torch.uint8, device="cpu")
    run(native.w1a1_signs, rows, weight.arguments(), wrap, pointer(out), steps)
    return out
