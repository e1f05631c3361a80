"""The numbers of a model: as metadata of a GGUF file, and as a configuration of transformers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from proxconnect.errors import ExportError, FormatError, shown
from proxconnect.gguf import _rope
from proxconnect.gguf._architectures import ARCHITECTURES, OF_MODEL_TYPE, Architecture, Dimensions

_SIZES = {
    "hidden": "embedding_length",
    "layers": "block_count",
    "heads": "attention.head_count",
    "key_heads": "attention.head_count_kv",
    "head": "attention.key_length",
    "feed_forward": "feed_forward_length",
}
_CONTEXT, _EPSILON, _VALUES = "context_length", "attention.layer_norm_rms_epsilon", "attention.value_length"
_TURNED = "rope.dimension_count"
# Keys that a file may have beside, with the value that changes nothing; None for any.
_IDLE = {"vocab_size": None, "rope.scaling.finetuned": None, "expert_count": 0, "expert_used_count": 0}
_MOST = 2**31  # a number of a model is smaller


class Model(NamedTuple):
    """The numbers of a model.

    Args:
        architecture: its architecture.
        size: what the shapes of its tensors follow from.
        context: the number of positions.
        epsilon: of its norms.
        rope: how positions turn queries and keys: ``rope_parameters`` of transformers.
    """

    architecture: Architecture
    size: Dimensions
    context: int
    epsilon: float
    rope: Mapping[str, Any]


def model_of_config(config: Any, *, tied: bool) -> Model:
    """Take the numbers from a configuration of transformers; ``tied`` says that the head is the embedding.

    Raises:
        ExportError: the architecture has no counterpart in GGUF files, or llama.cpp computes it otherwise.
    """
    kind = getattr(config, "model_type", None)
    architecture = OF_MODEL_TYPE.get(str(kind))
    if architecture is None:
        known = ", ".join(OF_MODEL_TYPE)
        raise ExportError(f"a model of the architecture {shown(kind)} has no mapping to GGUF; known: {known}")
    rope = dict(config.rope_parameters)
    _rope.refuse_unknown_rope(rope)
    size = Dimensions(
        config.vocab_size,
        config.hidden_size,
        config.num_hidden_layers,
        config.num_attention_heads,
        config.num_key_value_heads,
        getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,
        config.intermediate_size,
        attention_bias=architecture.always_biased or bool(getattr(config, "attention_bias", False)),
        mlp_bias=bool(getattr(config, "mlp_bias", False)),
        tied=tied,
    )
    windows = sorted(set(getattr(config, "layer_types", None) or ()) - {"full_attention"})
    biased = size.attention_bias and not architecture.biases
    window = getattr(config, "sliding_window", None) if kind == "mistral" else None
    if window is not None and window >= config.max_position_embeddings:
        window = None  # no position is beyond it
    for name, value, expected in (
        ("hidden_act", config.hidden_act, "silu"),
        ("layer_types", windows, []),
        ("sliding_window", window, None),
        ("attention_bias", biased, False),
    ):
        if value != expected:
            raise ExportError(
                f"{name} of the configuration is {shown(value)}; llama.cpp computes {kind} without"
            )
    return Model(architecture, size, config.max_position_embeddings, config.rms_norm_eps, rope)


def metadata_of(model: Model) -> dict[str, int | float | str]:
    """Write the numbers as metadata of a GGUF file, without the prefix of the architecture."""
    size = model.size
    return {
        "vocab_size": size.vocabulary,
        _CONTEXT: model.context,
        **{key: getattr(size, name) for name, key in _SIZES.items()},
        _VALUES: size.head,
        _EPSILON: float(model.epsilon),
        _TURNED: size.head,
        **_rope.rope_metadata(model.rope),
    }


def model_of_metadata(
    metadata: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]],
    factors: npt.NDArray[np.float32] | None,
) -> Model:
    """Read the numbers from the metadata of a GGUF file.

    Nothing is made of them here, and no number is larger than the tensors of the file bear out: the caller
    compares all shapes.

    Args:
        metadata: of the file.
        shapes: of its tensors, by their GGUF names.
        factors: the tensor ``rope_freqs.weight``, if there is one.

    Raises:
        FormatError: a number is missing or impossible, or a key means a model that is not read (named).
    """
    kind = metadata.get("general.architecture")
    if not isinstance(kind, str) or kind not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise FormatError(f"general.architecture is {shown(kind)}, which is not read; known: {known}")
    values = {
        key.removeprefix(f"{kind}."): value for key, value in metadata.items() if key.startswith(f"{kind}.")
    }
    _refuse_unknown(values)
    table = shapes.get("token_embd.weight", ())
    if len(table) != 2:
        raise FormatError("token_embd.weight, a matrix, is missing")
    hidden, layers, heads = (_natural(values, _SIZES[name]) for name in ("hidden", "layers", "heads"))
    head = _natural(values, _SIZES["head"], hidden // heads)
    for key in (_VALUES, _TURNED):
        if _natural(values, key, head) != head or head % 2:
            raise FormatError(
                f"{key} is {values.get(key)}, and a head has {head} inputs; expected the same, even"
            )
    if layers > len(shapes):
        raise FormatError(f"block_count is {layers}, and the file has {len(shapes)} tensors in all")
    size = Dimensions(
        table[0],
        hidden,
        layers,
        heads,
        _natural(values, _SIZES["key_heads"], heads),
        head,
        _natural(values, _SIZES["feed_forward"]),
        attention_bias=ARCHITECTURES[kind].always_biased or "blk.0.attn_q.bias" in shapes,
        mlp_bias="blk.0.ffn_up.bias" in shapes,
        tied="output.weight" not in shapes,
    )
    if size.heads % size.key_heads:
        raise FormatError(f"{heads} heads cannot share {size.key_heads} heads of keys")
    for key in (_EPSILON, *_rope.KEYS):
        if key in values and key != "rope.scaling.type":
            values[key] = _positive(values, key)
    if _EPSILON not in values:
        raise FormatError(f"{_EPSILON} is missing")
    rope = _rope.rope_of_metadata(values, factors, head)
    return Model(ARCHITECTURES[kind], size, _natural(values, _CONTEXT), values[_EPSILON], rope)


def config_arguments(model: Model) -> dict[str, Any]:
    """Return the arguments of the model's configuration in transformers."""
    size = model.size
    biases = {} if model.architecture.always_biased else {"attention_bias": size.attention_bias}
    biases |= {"mlp_bias": True} if size.mlp_bias else {}
    return biases | {
        "vocab_size": size.vocabulary,
        "hidden_size": size.hidden,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "num_key_value_heads": size.key_heads,
        "head_dim": size.head,
        "intermediate_size": size.feed_forward,
        "max_position_embeddings": model.context,
        "rms_norm_eps": model.epsilon,
        "rope_parameters": dict(model.rope),
        "tie_word_embeddings": size.tied,
    }


def _refuse_unknown(values: Mapping[str, Any]) -> None:
    known = {*_SIZES.values(), _CONTEXT, _EPSILON, _VALUES, _TURNED, *_rope.KEYS}
    for key, value in values.items():
        if key in _IDLE:
            if _IDLE[key] is not None and value != _IDLE[key]:
                raise FormatError(
                    f"{key} is {shown(value)}; expected {_IDLE[key]}: other models are not read"
                )
        elif key not in known:
            raise FormatError(f"the key {shown(key)} means a model that is not read")


def _natural(values: Mapping[str, Any], key: str, default: int | None = None) -> int:
    value = values.get(key, default)
    if type(value) is not int or not 1 <= value < _MOST:
        raise FormatError(f"{key} is {shown(value)}; expected a whole number from 1 to {_MOST - 1}")
    return value


def _positive(values: Mapping[str, Any], key: str) -> float | int:
    value = values[key]
    if type(value) is int and 0 < value < _MOST:
        return value
    # A file has 32 bits of a number: 1e-06 and not 9.999999974752427e-07.
    number = float(str(np.float32(value))) if type(value) is float else math.nan
    if not 0 < number < math.inf:
        raise FormatError(f"{key} is {shown(value)}; expected a positive number")
    return number
