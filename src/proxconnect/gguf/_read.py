"""A GGUF file as a packed model of transformers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from proxconnect.base.memory import return_free_memory
from proxconnect.base.optional import needed_for
from proxconnect.engine import check_kernels
from proxconnect.errors import FormatError, shown
from proxconnect.format import BinaryTensor
from proxconnect.gguf._architectures import EMBEDDING, HEAD, row_order, tensor_names, tensor_shapes
from proxconnect.gguf._blocks import BLOCK_TYPES
from proxconnect.gguf._configuration import Model, config_arguments, model_of_metadata
from proxconnect.gguf._container import Container, read_container
from proxconnect.gguf._rope import FACTORS
from proxconnect.gguf._tokenizer import tokenizer_of_metadata
from proxconnect.layers import scale_name

METHOD = "gguf"  # of weights whose training is unknown


def from_gguf(path: str | os.PathLike[str], activations: str | None = None) -> Any:
    """Load a GGUF file of few levels as a packed model of transformers.

    The file is a Llama, Qwen2 or Qwen3 whose matrices are ``Q1_0``, ``TQ1_0`` or ``TQ2_0``, or floats
    (``F32``, ``F16``, ``BF16``, which become float32). Bits are never unpacked on the way. Nothing of the
    file is run, and nothing is made of a size that its bytes do not bear out.

    Args:
        path: the file.
        activations: None, ``"int8"`` or ``"int6"``, see :func:`proxconnect.load`. llama.cpp quantizes
            activations to 8 bits.

    Returns:
        A ``LlamaForCausalLM``, ``Qwen2ForCausalLM`` or ``Qwen3ForCausalLM`` in eval mode. Its
        ``save_pretrained`` writes a packed folder.

    Raises:
        FormatError: the file is missing, damaged, has a tensor of another type, or is of a model that is not
            read.
        MissingPackageError: transformers is not installed.
        ProxConnectError: ``activations`` are unknown.

    >>> import proxconnect as pc
    >>> try:
    ...     pc.from_gguf("no/such/file.gguf")
    ... except pc.ProxConnectError as error:
    ...     print(error)
    no/such/file.gguf: cannot be read: No such file or directory
    """
    check_kernels("fast", activations)
    container = read_container(Path(path))
    with needed_for("Reading GGUF files as models", "gguf"):
        import transformers

        from proxconnect.integrations.transformers.packed_model import packed_model
    try:
        numbers = _numbers(container)
        tensors, binary = _tensors(container, numbers)
        if not binary:
            raise FormatError("no tensor is Q1_0, TQ1_0 or TQ2_0: load the file with transformers itself")
        kinds = {
            "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
            "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
            "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM),
        }
        config, kind = kinds[numbers.architecture.name]
        tied = numbers.size.tied and EMBEDDING in binary
        model: Any = packed_model(
            kind,
            config(**config_arguments(numbers), **_special_tokens(container)),
            tensors,
            binary,
            method=METHOD,
            shared={HEAD: EMBEDDING} if tied else None,
            activations=activations,
        )
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from None
    del tensors
    return_free_memory()
    return model.eval()


def gguf_tokenizer(path: str | os.PathLike[str]) -> Any:
    """Load the tokenizer of a GGUF file as a ``PreTrainedTokenizerFast`` of transformers.

    A chat template is a program, so it stays in the file.

    Raises:
        FormatError: the file is missing or damaged, or has no byte-level BPE tokenizer of a known kind.
        MissingPackageError: transformers is not installed.
    """
    container = read_container(Path(path))
    try:
        return tokenizer_of_metadata(container.metadata, _numbers(container).size.vocabulary)
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from None


def _numbers(container: Container) -> Model:
    """Read the numbers of the model, and compare the tensors of the file with those that follow from them."""
    shapes = {name: tensor.shape for name, tensor in container.tensors.items()}
    numbers = model_of_metadata(container.metadata, shapes, _factors(container))
    names = tensor_names(numbers.architecture, numbers.size.layers)
    expected = {
        names[name]: shape for name, shape in tensor_shapes(numbers.architecture, numbers.size).items()
    }
    for name in sorted(expected.keys() | shapes.keys() - {FACTORS}):
        if expected.get(name) != shapes.get(name):
            raise FormatError(
                f"tensor {shown(name)} has the shape {shapes.get(name)}; its {numbers.architecture.name} has "
                f"{expected.get(name)} (None: no such tensor)"
            )
    return numbers


def _factors(container: Container) -> npt.NDArray[np.float32] | None:
    stored = container.tensors.get(FACTORS)
    if stored is None:
        return None
    if stored.type != "F32" or len(stored.shape) != 1:
        raise FormatError(f"{FACTORS}: expected a vector of F32")
    factors = container.bytes_of(FACTORS).view("<f4").astype(np.float32)
    if not (np.isfinite(factors).all() and (factors > 0).all()):
        raise FormatError(f"{FACTORS}: expected positive numbers")
    return factors


def _tensors(container: Container, numbers: Model) -> tuple[dict[str, Tensor], dict[str, BinaryTensor]]:
    """Read all tensors by their names in transformers: floats, or bits and scales."""
    architecture, size = numbers.architecture, numbers.size
    names = tensor_names(architecture, size.layers)
    tensors: dict[str, Tensor] = {}
    binary: dict[str, BinaryTensor] = {}
    for name, shape in tensor_shapes(architecture, size).items():
        stored = container.tensors[names[name]]
        data = container.bytes_of(names[name])
        order = row_order(architecture, name, size, reading=True)
        try:
            if stored.type not in BLOCK_TYPES:
                floats = _floats(data, stored.type).reshape(shape)
                tensors[name] = floats if order is None else floats[order]
                continue
            if len(shape) != 2:
                raise FormatError(f"is {stored.type}; expected floats")
            block = BLOCK_TYPES[stored.type]
            decoded = block.decode(data.reshape(shape[0], -1, block.bytes))
        except FormatError as error:
            raise FormatError(f"tensor {names[name]!r}: {error}") from None
        bits, scales = decoded if order is None else (decoded.bits[..., order, :], decoded.scales[order])
        binary[name] = BinaryTensor(shape, block.bits, block.inputs)
        tensors[name] = torch.from_numpy(np.ascontiguousarray(bits))
        tensors[scale_name(name)] = torch.from_numpy(np.ascontiguousarray(scales))
    return tensors, binary


def _floats(data: npt.NDArray[np.uint8], kind: str) -> Tensor:
    """Read floats as float32."""
    if kind == "BF16":
        wide = data.view("<u2").astype(np.uint32) << 16
        values = wide.view(np.float32)
    else:
        values = data.view({"F32": "<f4", "F16": "<f2"}[kind]).astype(np.float32)
    if not np.isfinite(values).all():
        raise FormatError("NaN or infinite values; the file is damaged")
    return torch.from_numpy(values)


def _special_tokens(container: Container) -> dict[str, int | None]:
    """Return where a text begins and ends; None where the file does not say."""
    found = {
        name: container.metadata.get(f"tokenizer.ggml.{name}") for name in ("bos_token_id", "eos_token_id")
    }
    vocabulary = container.tensors["token_embd.weight"].shape[0]
    for name, number in found.items():
        if number is not None and (type(number) is not int or not 0 <= number < vocabulary):
            raise FormatError(
                f"tokenizer.ggml.{name} is {shown(number)}; expected a token below {vocabulary}"
            )
    return found
