"""Architectures of both GGUF and transformers: the names and shapes of their tensors, the order of rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"

_ENDS = {EMBEDDING: "token_embd", "model.norm.weight": "output_norm", HEAD: "output"}
_NORMS = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
_HEAD_NORMS = {"self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm"}
_ATTENTION = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
}
_FEED_FORWARD = {"mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}


class Architecture(NamedTuple):
    """An architecture of GGUF files.

    Args:
        name: ``general.architecture``.
        turned: llama.cpp rotates neighbouring pairs of a head, so that its rows of ``q`` and ``k`` are in
            another order.
        head_norms: queries and keys of each head are normed.
        biases: the linear layers that may have biases.
        always_biased: these do have them.
    """

    name: str
    turned: bool
    head_norms: bool
    biases: tuple[str, ...]
    always_biased: bool = False


_QUERIES_KEYS_VALUES = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
ARCHITECTURES = {
    "llama": Architecture("llama", turned=True, head_norms=False, biases=(*_ATTENTION, *_FEED_FORWARD)),
    "qwen2": Architecture(
        "qwen2", turned=False, head_norms=False, biases=_QUERIES_KEYS_VALUES, always_biased=True
    ),
    "qwen3": Architecture("qwen3", turned=False, head_norms=True, biases=()),
}
# By ``model_type`` of transformers. llama.cpp computes a Mistral as a Llama.
OF_MODEL_TYPE = {name: ARCHITECTURES[name] for name in ARCHITECTURES} | {"mistral": ARCHITECTURES["llama"]}


class Dimensions(NamedTuple):
    """The numbers that the shapes of all tensors follow from."""

    vocabulary: int
    hidden: int
    layers: int
    heads: int
    key_heads: int
    head: int
    feed_forward: int
    attention_bias: bool = False
    mlp_bias: bool = False
    tied: bool = False


def tensor_names(architecture: Architecture, layers: int) -> dict[str, str]:
    """Return the GGUF names of all parameters that a model may have, by their names in transformers.

    >>> tensor_names(ARCHITECTURES["qwen3"], 1)["model.layers.0.self_attn.k_norm.weight"]
    'blk.0.attn_k_norm.weight'
    """
    norms = _NORMS | (_HEAD_NORMS if architecture.head_norms else {})
    linear = _ATTENTION | _FEED_FORWARD
    names = {name: f"{stored}.weight" for name, stored in _ENDS.items()}
    for layer in range(layers):
        for part, stored in (norms | linear).items():
            names[f"model.layers.{layer}.{part}.weight"] = f"blk.{layer}.{stored}.weight"
        for part in architecture.biases:
            names[f"model.layers.{layer}.{part}.bias"] = f"blk.{layer}.{linear[part]}.bias"
    return names


def tensor_shapes(architecture: Architecture, size: Dimensions) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all parameters of a model, by their names in transformers."""
    queries, keys = size.heads * size.head, size.key_heads * size.head
    table = (size.vocabulary, size.hidden)
    layer: dict[str, tuple[int, ...]] = dict.fromkeys((f"{part}.weight" for part in _NORMS), (size.hidden,))
    if architecture.head_norms:
        layer |= dict.fromkeys((f"{part}.weight" for part in _HEAD_NORMS), (size.head,))
    linear = {
        "self_attn.q_proj": (queries, size.hidden),
        "self_attn.k_proj": (keys, size.hidden),
        "self_attn.v_proj": (keys, size.hidden),
        "self_attn.o_proj": (size.hidden, queries),
        "mlp.gate_proj": (size.feed_forward, size.hidden),
        "mlp.up_proj": (size.feed_forward, size.hidden),
        "mlp.down_proj": (size.hidden, size.feed_forward),
    }
    for part, shape in linear.items():
        layer[f"{part}.weight"] = shape
        biased = size.attention_bias if part in _ATTENTION else size.mlp_bias
        if biased and part in architecture.biases:
            layer[f"{part}.bias"] = shape[:1]
    shapes = {EMBEDDING: table, "model.norm.weight": (size.hidden,)} | ({} if size.tied else {HEAD: table})
    for number in range(size.layers):
        shapes |= {f"model.layers.{number}.{name}": shape for name, shape in layer.items()}
    return shapes


def row_order(
    architecture: Architecture, name: str, size: Dimensions, *, reading: bool
) -> npt.NDArray[np.int64] | None:
    """Return which row of a tensor goes where, as an index; None if all rows keep their places.

    transformers rotates input ``i`` of a head with input ``i + head / 2``. llama.cpp rotates ``2 i`` with
    ``2 i + 1`` in the architectures that are ``turned``, so their queries and keys are interleaved.

    Args:
        architecture: of the model.
        name: of the tensor, in transformers.
        size: of the model.
        reading: True from a file to transformers, False the other way.

    >>> size = Dimensions(8, 4, 1, heads=2, key_heads=1, head=4, feed_forward=8)
    >>> row_order(ARCHITECTURES["llama"], "model.layers.0.self_attn.k_proj.weight", size, reading=False)
    array([0, 2, 1, 3])
    """
    part = name.rpartition(".")[0].rpartition("layers.")[2].partition(".")[2]
    heads = {"self_attn.q_proj": size.heads, "self_attn.k_proj": size.key_heads}.get(part)
    if heads is None or not architecture.turned:
        return None
    halves = (heads, size.head // 2, 2) if reading else (heads, 2, size.head // 2)
    return np.arange(heads * size.head).reshape(halves).swapaxes(1, 2).reshape(-1)
