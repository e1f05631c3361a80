"""Float operators computed in bfloat16, with float32 before and behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from proxconnect import kernels
from proxconnect.engine._integer_attention import kernel_takes


def attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, *steps: Any, **named: Any
) -> Tensor:
    """Compute ``scaled_dot_product_attention`` of float32 tensors in bfloat16; the sums are float32.

    A kernel computes it (:func:`proxconnect.kernels.attention`) where processors multiply tiles. What it does
    not take goes to torch.

    >>> query, key, value = torch.randn(3, 2, 4, 5, 8)
    >>> attention(query, key, value).dtype
    torch.float32
    """
    if mask is None and not steps and named.keys() <= {"scale"} and kernel_takes(query, key, value):
        found = kernels.attention(query, key, value, **named, bfloat16=True)
        if found is not None:
            return found
    narrow = [tensor.to(torch.bfloat16) for tensor in (query, key, value)]
    if mask is not None and mask.dtype != torch.bool:
        mask = mask.to(torch.bfloat16)
    attend: Callable[..., Tensor] = functional.scaled_dot_product_attention
    return attend(*narrow, mask, *steps, **named).to(torch.float32)
