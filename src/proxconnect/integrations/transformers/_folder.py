"""The tensor table of a saved folder, checked against the model before anything is read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers.core_model_loading import rename_source_key

from proxconnect.errors import FormatError, shown
from proxconnect.format.layout import StoredTensor, dtype_name


def check_folder(model: Any, files: Iterable[str], saved_from: Iterable[str]) -> None:
    """Refuse files that do not have exactly the tensors of a model whose layers are prepared for them.

    Dtypes are compared for the tensors that are not read into another dtype: bits and scales. A model of
    another class than the one that was saved, such as one with a new head, may lack tensors that are not
    binarized or have more of them.

    Args:
        model: the model on the meta device, whose binarized layers have the places of stored tensors.
        files: the files of the folder.
        saved_from: names of the classes of the saved model.

    Raises:
        FormatError: a file is no safetensors file, or a tensor is missing, unknown, or of another shape or
            dtype; the message names it.
    """
    wanted = model.state_dict()
    found = {
        rename_source_key(name, [], [], model.base_model_prefix, wanted)[0]: tensor
        for name, tensor in _tables(files).items()
    }
    own = {name for name, buffer in model.named_buffers() if name in wanted}
    strict = type(model).__name__ in saved_from
    missing = wanted.keys() - found.keys() - _tied(model, found)
    for name in sorted(missing):
        if (strict and not _ignored(name, model._keys_to_ignore_on_load_missing)) or name in own:
            raise FormatError(f"tensor {name!r} is missing in the folder; fetch or save it again")
    for name in sorted(found.keys() - wanted.keys()):
        if strict and not _ignored(name, model._keys_to_ignore_on_load_unexpected):
            raise FormatError(f"tensor {name!r} in the folder is not in the model; fetch or save it again")
    for name in found.keys() & wanted.keys():
        stored, tensor = found[name], wanted[name]
        if stored.shape != tuple(tensor.shape):
            raise FormatError(
                f"tensor {name!r}: shape {list(stored.shape)} in the folder, expected {list(tensor.shape)}"
            )
        dtype = str(tensor.dtype).removeprefix("torch.")
        is_float = tensor.is_floating_point() and stored.dtype in ("float16", "bfloat16", "float32")
        if stored.dtype != dtype and not (is_float and name not in own):
            raise FormatError(f"tensor {name!r}: dtype {stored.dtype} in the folder, expected {dtype}")


def _tables(files: Iterable[str]) -> Mapping[str, StoredTensor]:
    tables: dict[str, StoredTensor] = {}
    for file in files:
        if not file.endswith(".safetensors"):
            raise FormatError(f"{file}: a model of ProxConnect is in safetensors files")
        try:
            with safe_open(file, framework="pt") as opened:
                for name in sorted(opened.keys()):
                    tensor = opened.get_slice(name)
                    dtype = dtype_name(tensor.get_dtype()) or tensor.get_dtype()
                    if name in tables:
                        raise FormatError(f"{file}: tensor {shown(name)} is in another file too")
                    tables[name] = StoredTensor(dtype, tuple(tensor.get_shape()))
        except (SafetensorError, OSError) as error:
            raise FormatError(f"{file}: no readable safetensors file: {error}") from None
    return tables


def _tied(model: Any, found: Mapping[str, StoredTensor]) -> set[str]:
    """Return the names of tensors that transformers ties to tensors that are there."""
    pairs = model.all_tied_weights_keys.items()
    there = {source for target, source in pairs if target in found or source in found}
    return {name for target, source in pairs if source in there for name in (target, source)}


def _ignored(name: str, patterns: Iterable[str] | None) -> bool:
    return any(re.search(pattern, name) for pattern in patterns or ())
