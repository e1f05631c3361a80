"""Attention of floats in bfloat16 or in integers: by a kernel where only eager PyTorch sees the inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from proxconnect import kernels
from proxconnect.base.eager import unobserved
from proxconnect.kernels import MOST_ATTENTION_FEATURES, MOST_ATTENTION_KEYS

# With fewer keys, torch's attention is as fast.
_LEAST_KEYS = 64


def bfloat16_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, *steps: Any, **named: Any
) -> Tensor:
    """Compute ``scaled_dot_product_attention`` of float32 tensors in bfloat16; the sums are float32.

    A kernel computes it (:func:`proxconnect.kernels.attention`) where processors multiply tiles. What it does
    not take goes to torch.

    >>> query, key, value = torch.randn(3, 2, 4, 5, 8)
    >>> bfloat16_attention(query, key, value).dtype
    torch.float32
    """
    if mask is None and not steps and named.keys() <= {"scale"} and _kernel_takes(query, key, value):
        found = kernels.attention(query, key, value, **named, bfloat16=True)
        if found is not None:
            return found
    narrow = [tensor.to(torch.bfloat16) for tensor in (query, key, value)]
    if mask is not None and mask.dtype != torch.bool:
        mask = mask.to(torch.bfloat16)
    attend: Callable[..., Tensor] = functional.scaled_dot_product_attention
    return attend(*narrow, mask, *steps, **named).to(torch.float32)


def integer_attention(query: Tensor, key: Tensor, value: Tensor, scale: float | None = None) -> Tensor:
    """Compute ``scaled_dot_product_attention``, see :func:`proxconnect.kernels.attention`.

    What the kernel does not take goes to torch.

    >>> query, key, value = torch.randn(3, 2, 4, 5, 8)
    >>> integer_attention(query, key, value).shape
    torch.Size([2, 4, 5, 8])
    """
    if _kernel_takes(query, key, value):
        found = kernels.attention(query, key, value, scale)
        if found is not None:
            return found
    return functional.scaled_dot_product_attention(query, key, value, scale=scale)


def _kernel_takes(query: Tensor, key: Tensor, value: Tensor) -> bool:
    """Tell whether the kernel takes such tensors, and is faster than torch."""
    if not (
        query.ndim == key.ndim == value.ndim == 4 and query.shape[:2] == key.shape[:2] == value.shape[:2]
    ):
        return False
    features = (
        query.shape[3] == key.shape[3] and max(query.shape[3], value.shape[3]) <= MOST_ATTENTION_FEATURES
    )
    keys = key.shape[2] == value.shape[2] and _LEAST_KEYS <= key.shape[2] <= MOST_ATTENTION_KEYS
    return features and keys and unobserved(query) and unobserved(key) and unobserved(value)


def multiplies_integers() -> bool:
    """Tell whether the kernel set in use multiplies pairs of integers of 16 bits in one instruction."""
    return kernels.active_kernels() in ("avx2", "avx512", "amx")
