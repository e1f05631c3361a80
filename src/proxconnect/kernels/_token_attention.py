"""Compute attention of one new token to those that a cache holds."""

from __future__ import annotations

import torch
from torch import Tensor

from proxconnect.errors import ProxConnectError
from proxconnect.kernels._gateway import native, pointer, run


def token_attention(
    token: tuple[Tensor, Tensor, Tensor],
    rotation: tuple[Tensor, Tensor],
    keys: Tensor,
    values: Tensor,
    scale: float,
) -> Tensor:
    """Append a token to keys and values, and compute its attention to all tokens, itself among them.

    With ``rotated(x) = x cos + (-second half of x, first half of x) sin``, for every text and head:

    - the last row of ``keys`` becomes ``rotated(key)``, that of ``values`` becomes ``value``;
    - the output is ``softmax(scale rotated(query) keys^T) values``. Heads of keys are shared by as many
      successive heads of queries each. An output whose scores are not all finite is NaN.

    Args:
        token: query, key and value, float32 of shape (texts, heads, features), dense on the CPU. Keys and
            values may have fewer heads, which divide those of queries.
        rotation: cos and sin, float32 of shape (texts or 1, features), with the same strides.
        keys: float32 of shape (texts, key heads, tokens, features), with room for the new token at the end:
            changed in place. Features lie side by side in memory.
        values: as ``keys``.
        scale: what scores are multiplied by.

    Returns:
        float32 of shape (texts, heads, features).

    Raises:
        ProxConnectError: a tensor is not as described, there is no token, or the features are not even.

    >>> query, key, value = torch.ones(3, 1, 2, 4)
    >>> keys, values = torch.zeros(2, 1, 2, 5, 4)
    >>> rotation = torch.ones(1, 4), torch.zeros(1, 4)
    >>> token_attention((query, key, value), rotation, keys, values, 0.5)[0, 0]
    tensor([0.6488, 0.6488, 0.6488, 0.6488])
    """
    query, key, value = token
    cos, sin = rotation
    texts, heads, features = query.shape if query.ndim == 3 else (0, 0, 0)
    key_heads = key.shape[1] if key.ndim == 3 else 0
    tokens = keys.shape[2] if keys.ndim == 4 else 0
    cached, turned = (texts, key_heads, tokens, features), (cos.shape[0] if cos.ndim else 0, features)
    expected = {
        "query": (query, (texts, heads, features)),
        "key": (key, (texts, key_heads, features)),
        "value": (value, (texts, key_heads, features)),
        "cos": (cos, turned),
        "sin": (sin, turned),
        "keys": (keys, cached),
        "values": (values, cached),
    }
    for name, (x, shape) in expected.items():
        if x.dtype != torch.float32 or not x.is_cpu or x.shape != shape or (x.stride(-1) != 1 != features):
            raise ProxConnectError(
                f"{name} is {x.dtype} of shape {tuple(x.shape)} on {x.device}; expected float32 of shape "
                f"{shape}, on the CPU, features side by side"
            )
    if not key_heads or heads % key_heads or turned[0] not in (1, texts) or cos.stride(0) != sin.stride(0):
        raise ProxConnectError(
            f"there are {texts} texts, {heads} heads of queries, {key_heads} of keys, and {turned[0]} "
            f"rotations with strides {cos.stride(0)} and {sin.stride(0)}; expected a multiple of the "
            "heads of keys, and one rotation, or one for each text, with the same strides"
        )
    out = torch.empty_like(query, memory_format=torch.contiguous_format)
    turn = cos.stride(0) if turned[0] > 1 else 0
    places = [(pointer(x), *x.stride()[:3]) for x in (keys, values)]
    query, key, value = query.contiguous(), key.contiguous(), value.contiguous()
    sizes = texts, key_heads, heads // key_heads, tokens, features
    addressed = (pointer(query), pointer(key), pointer(value)), (pointer(cos), pointer(sin), turn)
    run(native.token_attention, *addressed, *places, sizes, scale, pointer(out))
    return out
