"""Attention of floats in integers, by a kernel where only eager PyTorch sees the inputs."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from proxconnect import kernels
from proxconnect.base.eager import unobserved
from proxconnect.kernels import MOST_ATTENTION_FEATURES, MOST_ATTENTION_KEYS

# With fewer keys, torch's attention is as fast.
_LEAST_KEYS = 64


def attention(query: Tensor, key: Tensor, value: Tensor, scale: float | None = None) -> Tensor:
    """Compute ``scaled_dot_product_attention``, see :func:`proxconnect.kernels.attention`.

    What the kernel does not take goes to torch.

    >>> import torch
    >>> query, key, value = torch.randn(3, 2, 4, 5, 8)
    >>> attention(query, key, value).shape
    torch.Size([2, 4, 5, 8])
    """
    if kernel_takes(query, key, value):
        found = kernels.attention(query, key, value, scale)
        if found is not None:
            return found
    return functional.scaled_dot_product_attention(query, key, value, scale=scale)


def kernel_takes(query: Tensor, key: Tensor, value: Tensor) -> bool:
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


def is_faster() -> bool:
    """Tell whether the kernel set in use multiplies pairs of integers of 16 bits in one instruction."""
    return kernels.active_kernels() in ("avx2", "avx512", "amx")
