"""Caches of keys and values with room for further tokens.

``DynamicLayer`` of transformers copies all keys and values for each token. A layer whose tensors are the
beginning of larger ones takes a token without that. Its attributes are what they would be, and whatever
else changes them, such as a beam search, simply leaves the larger tensors behind.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from transformers.cache_utils import DynamicLayer

_ROOM = "proxconnect_room"  # the attribute of a cache's layer
_LEAST_ROOM = 64


class _Room(NamedTuple):
    """Tensors for more tokens than there are, and their beginnings, which are the layer's attributes."""

    all_keys: Tensor
    all_values: Tensor
    keys: Tensor
    values: Tensor


def can_append(layer: Any, batch: int) -> bool:
    """Tell whether :func:`with_room_for_token` can append float32 tokens of so many texts to a layer."""
    if type(layer) is not DynamicLayer or not layer.is_initialized:
        return False
    keys, values = cast(Tensor, layer.keys), cast(Tensor, layer.values)
    return keys.ndim == 4 and keys.shape[0] == batch and _is_float(keys) and _is_float(values)


def _is_float(x: Tensor) -> bool:
    return x.dtype is torch.float32 and x.is_cpu


def with_room_for_token(layer: DynamicLayer) -> tuple[Tensor, Tensor]:
    """Append a token to a layer of a cache, whose key and value the caller writes.

    Args:
        layer: a layer that :func:`can_append` takes.

    Returns:
        All keys and all values of the layer, (batch, heads, tokens, head). The last token's have any content.
    """
    keys, values = cast(Tensor, layer.keys), cast(Tensor, layer.values)
    length = keys.shape[2]
    room: _Room | None = layer.__dict__.get(_ROOM)
    if room is None or room.keys is not keys or room.values is not values or not _holds_one_more(room):
        room = _Room(_extended(keys), _extended(values), keys, values)
    layer.keys, layer.values = (whole.narrow(2, 0, length + 1) for whole in room[:2])
    layer.__dict__[_ROOM] = room._replace(keys=layer.keys, values=layer.values)
    return layer.keys, layer.values


def _holds_one_more(room: _Room) -> bool:
    if room.all_keys.is_inference() and not torch.is_inference_mode_enabled():
        return False  # tensors that may no longer be written
    return room.keys.shape[2] < room.all_keys.shape[2]


def _extended(x: Tensor) -> Tensor:
    """Copy tokens to the beginning of a tensor with room for a quarter more."""
    length = x.shape[2]
    whole = x.new_empty((*x.shape[:2], length + max(_LEAST_ROOM, length // 4), x.shape[3]))
    whole.narrow(2, 0, length).copy_(x)
    return whole
