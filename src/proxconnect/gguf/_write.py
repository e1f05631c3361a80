"""A model of transformers as a GGUF file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from torch import nn

from proxconnect.base.files import written_whole
from proxconnect.base.optional import needed_for
from proxconnect.errors import ProxConnectError, unknown_name
from proxconnect.gguf._architectures import HEAD
from proxconnect.gguf._configuration import Model, metadata_of, model_of_config
from proxconnect.gguf._tensors import file_tensors, model_weights, most_common_type
from proxconnect.gguf._tokenizer import write_tokenizer

REST = ("float16", "float32")
_QUANTIZATION_VERSION = 2


def gguf(
    model: nn.Module,
    path: str | os.PathLike[str],
    tokenizer: str | os.PathLike[str] | None = None,
    rest: str = "float16",
) -> Path:
    """Write a causal language model of transformers as one GGUF file for llama.cpp, and return its path.

    Binary weights become ``Q1_0``: one float16 scale for each 128 inputs of an output. They were trained with
    ``scale=128`` or a multiple, or with one scale for each channel or tensor. Ternary weights become
    ``TQ2_0``, one scale for 256 inputs. Norms and biases are float32. Scales are rounded to float16, the
    dtype that they have by default.

    Args:
        model: a Llama, Mistral, Qwen2 or Qwen3 for causal language modelling whose layers are binarized,
            hardened or packed.
            A model that is not hardened yet stays so: a copy of it is hardened.
        path: the file to write; an existing file is replaced.
        tokenizer: the folder of a byte-level BPE tokenizer, ``tokenizer.json``. None writes a file without
            tokenizer, which takes and gives numbers of tokens.
        rest: dtype of matrices that are not binarized, and of an embedding or head that fills no blocks:
            ``"float16"`` or ``"float32"``.

    Raises:
        ExportError: the architecture has no mapping, no layer is binarized, a layer has groups that no type
            of GGUF has, a value is beyond float16, or the tokenizer cannot be written.
        MissingPackageError: gguf is not installed.
        WriteError: the file cannot be written.

    >>> import tempfile, proxconnect as pc
    >>> from transformers import LlamaConfig, LlamaForCausalLM
    >>> sizes = {"vocab_size": 96, "hidden_size": 128, "intermediate_size": 128, "num_attention_heads": 2}
    >>> model = LlamaForCausalLM(LlamaConfig(num_hidden_layers=1, **sizes))
    >>> model = pc.binarize_(model, pc.BinarizeConfig("bnn++", scale=128))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pc.export.gguf(model, f"{folder}/tiny.gguf").name
    'tiny.gguf'
    """
    if rest not in REST:
        raise ProxConnectError(unknown_name("rest", rest, REST))
    with needed_for("Export to GGUF", "gguf"):
        from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType
    weights = model_weights(model)
    numbers = model_of_config(getattr(model, "config", None), tied=HEAD not in weights)
    tensors = file_tensors(weights, numbers, rest)
    with written_whole(Path(path)) as temporary:
        writer = GGUFWriter(temporary, numbers.architecture.name)
        writer.add_name(Path(path).stem)
        writer.add_file_type(LlamaFileType[f"MOSTLY_{most_common_type(tensors)}"])
        writer.add_quantization_version(_QUANTIZATION_VERSION)
        _write_numbers(writer, numbers)
        if tokenizer is None:
            writer.add_tokenizer_model("none")
        else:
            write_tokenizer(writer, Path(tokenizer), numbers.size.vocabulary)
        for name, tensor in tensors.items():
            kind = None if tensor.kind is None else GGMLQuantizationType[tensor.kind]
            writer.add_tensor(name, tensor.values, raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return Path(path)


def _write_numbers(writer: Any, numbers: Model) -> None:
    add = {int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}
    for key, value in metadata_of(numbers).items():
        add[type(value)](f"{numbers.architecture.name}.{key}", value)
