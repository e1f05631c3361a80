"""Operators in the forms that the exporter of ONNX knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from proxconnect.graph.operators import resolve


def traceable(name: str) -> Callable[..., Any]:
    """Return the function of an operator on the closed list."""
    return _attention if name == "aten.scaled_dot_product_attention.default" else resolve(name)


def _attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *args: Any, **kwargs: Any
) -> Tensor:
    """Compute attention of four dimensions, the only ones that are known."""
    attention = torch.ops.aten.scaled_dot_product_attention.default
    if query.ndim != 3:
        found: Tensor = attention(query, key, value, attn_mask, *args, **kwargs)
        return found
    if attn_mask is not None and attn_mask.ndim == 3:
        attn_mask = attn_mask.unsqueeze(1)
    one_head: Tensor = attention(
        query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1), attn_mask, *args, **kwargs
    )
    return one_head.squeeze(1)
