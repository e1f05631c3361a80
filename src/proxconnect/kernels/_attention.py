"""Compute attention of floats in integers of 16 bits, or in bfloat16."""

from __future__ import annotations

import torch
from torch import Tensor

from proxconnect.errors import ProxConnectError
from proxconnect.kernels._gateway import native, pointer, run

MOST_ATTENTION_KEYS = native.MOST_ATTENTION_KEYS
MOST_ATTENTION_FEATURES = native.MOST_ATTENTION_FEATURES


def attention(
    query: Tensor, key: Tensor, value: Tensor, scale: float | None = None, *, bfloat16: bool = False
) -> Tensor | None:
    """Compute ``softmax(scale query key^T) value`` for every batch and head, without a mask.

    Queries, keys and values are rounded to 13 bits of the greatest of their row, or of their feature, and
    weights of the softmax to 16 bits or fewer; ``csrc/interface/attention.h`` has it in full. The error is
    about a tenth of that of bfloat16.

    With ``bfloat16``, scaled queries, keys, values and the exponentials of the softmax are rounded to
    bfloat16 instead, and sums are float32. Only processors that multiply tiles (AMX) have such a kernel.

    Args:
        query: float32 of shape (batches, heads, queries, features), on the CPU.
        key: float32 of shape (batches, heads, keys, features).
        value: float32 of shape (batches, heads, keys, outputs).
        scale: a number; None for one over the square root of the features.
        bfloat16: round to bfloat16, not to integers.

    Returns:
        float32 of shape (batches, heads, queries, outputs), a view of (batches, queries, heads, outputs).
        None where a number is not finite, or of more than 1e15 in magnitude, and for ``bfloat16`` where the
        kernels in use have none for it.

    Raises:
        ProxConnectError: a tensor is not as described, or there are more than 16,384 keys, or 1,024 features
            or outputs.

    >>> query, key, value = torch.ones(3, 1, 2, 4, 8)
    >>> attention(query, key, value).shape
    torch.Size([1, 2, 4, 8])
    """
    for name, x in (("query", query), ("key", key), ("value", value)):
        if x.dtype != torch.float32 or not x.is_cpu or x.layout != torch.strided or x.ndim != 4:
            raise ProxConnectError(
                f"{name} is {x.dtype} of shape {tuple(x.shape)} on {x.device}; expected float32 of shape "
                "(batches, heads, rows, features), dense on the CPU"
            )
    batches, heads, queries, features = query.shape
    keys, outputs = value.shape[2:]
    if key.shape != (batches, heads, keys, features) or value.shape[:2] != key.shape[:2]:
        raise ProxConnectError(
            f"query, key and value have the shapes {tuple(query.shape)}, {tuple(key.shape)} and "
            f"{tuple(value.shape)}; expected (batches, heads, queries, features), (batches, heads, keys, "
            "features) and (batches, heads, keys, outputs)"
        )
    rows = [x if x.stride(3) == 1 else x.contiguous() for x in (query, key, value)]
    out = torch.empty(batches, queries, heads, outputs, dtype=torch.float32, device="cpu")
    scale = features**-0.5 if scale is None and features else float(scale or 0.0)
    addressed = [(pointer(x), *x.stride()[:3]) for x in rows]
    sizes = batches, heads, queries, keys, features, outputs
    found = run(native.attention, *addressed, sizes, scale, bfloat16, pointer(out))
    return out.transpose(1, 2) if found else None
