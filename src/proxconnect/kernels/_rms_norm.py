"""Normalize rows by their root mean square."""

from __future__ import annotations

import torch
from torch import Tensor

from proxconnect.errors import ProxConnectError
from proxconnect.kernels._gateway import native, pointer, run


def rms_norm(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """Normalize rows: ``weight x / sqrt(mean(x^2) + epsilon)``, in float32.

    Args:
        x: float32 of shape (..., n), on the CPU.
        weight: float32 of shape (n,), on the CPU.
        epsilon: a number that is added to the mean of squares.

    Returns:
        A dense tensor of the shape of ``x``.

    Raises:
        ProxConnectError: a tensor is not as described.

    >>> rms_norm(torch.tensor([[3.0, -4.0]]), torch.ones(2), 0.0)
    tensor([[ 0.8485, -1.1314]])
    """
    if x.dtype != torch.float32 or not x.is_cpu or x.layout != torch.strided:
        raise ProxConnectError(f"x is {x.dtype} on {x.device}; expected a dense float32 tensor on the CPU")
    if weight.dtype != torch.float32 or not weight.is_cpu or weight.shape != x.shape[-1:] or not x.ndim:
        raise ProxConnectError(
            f"weight is {weight.dtype} of shape {tuple(weight.shape)} on {weight.device}; expected float32 "
            f"of shape (n,) for x of shape {tuple(x.shape)}, on the CPU"
        )
    x, weight = x.contiguous(), weight.contiguous()
    out = torch.empty_like(x)
    columns = x.shape[-1]
    rows = x.numel() // columns if columns else 0
    run(native.rms_norm, pointer(x), rows, columns, pointer(weight), epsilon, pointer(out))
    return out
