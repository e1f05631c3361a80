"""Models of transformers made of packed weights that come from elsewhere."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor
from transformers import PreTrainedModel

from proxconnect.errors import FormatError, ProxConnectError
from proxconnect.format import BinaryTensor
from proxconnect.integrations.transformers._records import PackedRecord, packed_to_json
from proxconnect.integrations.transformers.config import ProxConnectConfig
from proxconnect.layers import scale_name

Model = TypeVar("Model", bound=PreTrainedModel)


def packed_model(
    kind: type[Model],
    config: Any,
    tensors: Mapping[str, Tensor],
    binary: Mapping[str, BinaryTensor],
    *,
    method: str,
    shared: Mapping[str, str] | None = None,
    activations: str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Model:
    """Make a packed model of bits and scales; no weight exists as floats on the way.

    Args:
        kind: the class of the model, such as ``LlamaForCausalLM``.
        config: its configuration; it stays as it is.
        tensors: all tensors by the names of the model. A packed weight ``x.weight`` is its bits, and its
            scales are ``x.weight_scale``.
        binary: the forms of the packed weights, by name.
        method: the name of the method with which the weights were trained.
        shared: names of weights that are another weight, such as a head that is the embedding.
        activations: see :func:`proxconnect.pack_`.
        dtype: the dtype in which the model computes.

    Raises:
        FormatError: a tensor is missing, unknown, or of another shape or dtype than the model's; padding bits
            are set, or scales are negative or not finite.

    >>> import torch, transformers
    >>> sizes = transformers.LlamaConfig(
    ...     vocab_size=8, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=1
    ... )
    >>> tensors = transformers.LlamaForCausalLM(sizes).state_dict()
    >>> name = "model.layers.0.mlp.down_proj.weight"
    >>> tensors[name] = torch.full((32, 4), 0b1010, dtype=torch.uint8)
    >>> tensors[f"{name}_scale"] = torch.ones(32, 1, dtype=torch.float16)
    >>> model = packed_model(
    ...     transformers.LlamaForCausalLM, sizes, tensors, {name: BinaryTensor((32, 32))}, method="bc"
    ... )
    >>> model.get_submodule("model.layers.0.mlp.down_proj").kernel
    'w1a32'
    """
    records = {}
    for name, form in binary.items():
        if name not in tensors or scale_name(name) not in tensors:
            raise FormatError(f"bits or scales of weight {name!r} are missing")
        scale = tensors[scale_name(name)]
        dtype_of_scale = str(scale.dtype).removeprefix("torch.")
        records[name] = PackedRecord(form, dtype_of_scale, tuple(scale.shape), method)
    config = copy.deepcopy(config)
    config.architectures = [kind.__name__]
    config.quantization_config = ProxConnectConfig(
        method=method, activations=activations, packed=packed_to_json(records), shared=shared
    ).to_dict()
    if not records:
        raise ProxConnectError("no weight is packed: make the model with from_pretrained")
    try:
        loaded: Any = kind.from_pretrained(
            None, config=config, state_dict=dict(tensors), dtype=dtype, output_loading_info=True
        )
    except RuntimeError as error:  # tensors of another shape
        raise FormatError(f"the tensors do not fit {kind.__name__}: {error}") from None
    model, info = loaded
    for what, names in (("is missing", "missing_keys"), ("is not in the model", "unexpected_keys")):
        for name in sorted(info[names]):
            raise FormatError(f"tensor {name!r} {what}")
    made: Model = model
    return made
