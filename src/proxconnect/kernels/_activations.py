"""Compute activations of layers that stay floats."""

from __future__ import annotations

import torch
from torch import Tensor

from proxconnect.errors import ProxConnectError, unknown_name
from proxconnect.kernels._gateway import native, pointer, run

_ACTIVATIONS = {kind.name: kind for kind in native.Activation}


def activate(x: Tensor, name: str) -> Tensor:
    """Compute an activation of every element, off by at most 3e-7 plus 1e-6 of its magnitude.

    ==============  =====================================================================
    ``gelu``        ``x Phi(x)``, with ``Phi`` the normal distribution function
    ``gelu_tanh``   ``x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2``
    ==============  =====================================================================

    Minus infinity gives NaN, as in torch. Zeros keep their sign.

    Args:
        x: float32 on the CPU, of any shape.
        name: the activation's.

    Returns:
        A tensor of the same shape, laid out in memory as ``x`` is where that has no gaps.

    Raises:
        ProxConnectError: the name is unknown, or ``x`` is not as described.

    >>> activate(torch.tensor([-1.0, 0.0, 1.0]), "gelu")
    tensor([-0.1587,  0.0000,  0.8413])
    """
    if name not in _ACTIVATIONS:
        raise ProxConnectError(unknown_name("activation", name, _ACTIVATIONS))
    if x.dtype != torch.float32 or not x.is_cpu or x.layout != torch.strided:
        raise ProxConnectError(f"x is {x.dtype} on {x.device}; expected a dense float32 tensor on the CPU")
    out = torch.empty_like(x)
    if out.stride() != x.stride():  # x has gaps
        x = out.copy_(x)
    run(native.activate, pointer(x), x.numel(), _ACTIVATIONS[name], pointer(out))
    return out
