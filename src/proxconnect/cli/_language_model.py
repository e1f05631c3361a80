"""The language model of a command: a folder that ``save_pretrained`` wrote, or a GGUF file."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from proxconnect.base.optional import needed_for
from proxconnect.engine import PackedLayer, check_kernels
from proxconnect.errors import ProxConnectError
from proxconnect.gguf import from_gguf, gguf_tokenizer

_FOLDER = "a folder that save_pretrained wrote, with config.json, or a file .gguf"


def open_language_model(path: Path, activations: str | None = None) -> Any:
    """Load the packed language model in ``path``, in eval mode.

    Raises:
        ProxConnectError: there is no such model, it is damaged, or it is not packed.
    """
    check_kernels("fast", activations)
    if path.suffix == ".gguf":
        return from_gguf(path, activations)
    model = folder_model(path)
    packed = [module for module in model.modules() if isinstance(module, PackedLayer)]
    if not packed:
        raise ProxConnectError(
            f"the model in {path} is not packed: load it, train it, call pc.pack_(model), and save it again "
            "with save_pretrained"
        )
    for layer in packed if activations is not None else ():
        layer.activations = activations
        layer.lay_out()
    return model


def folder_model(path: Path) -> Any:
    """Load the causal language model of a folder, packed or not, in eval mode.

    Raises:
        ProxConnectError: there is no such folder, or it is damaged.
    """
    with needed_for("A language model", "transformers"):
        from transformers import AutoModelForCausalLM
        from transformers.utils import logging

        import_module("proxconnect.integrations.transformers")  # tells transformers of packed folders
    if not (path / "config.json").is_file():
        raise ProxConnectError(f"{path} is no language model; expected {_FOLDER}")
    logging.disable_progress_bar()
    options = {"local_files_only": True, "dtype": torch.float32}
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(path, **options)
    except ProxConnectError:
        raise
    except Exception as error:  # transformers raises kinds of many libraries
        raise ProxConnectError(f"the model in {path} cannot be loaded: {error}") from None
    return model.eval()


def open_tokenizer(path: Path) -> Any:
    """Load the tokenizer of a folder or a GGUF file.

    Raises:
        ProxConnectError: there is none.
    """
    if path.suffix == ".gguf":
        return gguf_tokenizer(path)
    with needed_for("A language model", "transformers"):
        from transformers import AutoTokenizer
    if not any((path / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json")):
        raise ProxConnectError(
            f"{path} has no tokenizer: save it there with the tokenizer's own save_pretrained"
        )
    try:
        return AutoTokenizer.from_pretrained(path, local_files_only=True)
    except Exception as error:  # tokenizers raises Exception itself
        raise ProxConnectError(f"the tokenizer in {path} cannot be loaded: {error}") from None
