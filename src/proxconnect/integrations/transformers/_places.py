"""The places of named tensors in a model of transformers, and what ties them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

from proxconnect.errors import FormatError

Place = tuple[nn.Module, str]


def places(model: Any, names: Iterable[str], saved_from: Iterable[str]) -> dict[str, Place]:
    """Find the layer of each named tensor, and the tensor's name in the layer.

    A model may be loaded without the head that was saved with it, or with one around it; names then lose or
    gain the prefix of the base model, as transformers does it.

    Args:
        model: a model of transformers.
        names: fully qualified names of tensors in the model that was saved.
        saved_from: names of the classes that the model was saved from.

    Raises:
        FormatError: the model is of the class that was saved, and has no such tensor.
    """
    found: dict[str, Place] = {}
    prefix = f"{model.base_model_prefix}."
    for name in names:
        for candidate in (name, name.removeprefix(prefix), prefix + name):
            owner, _, tensor_name = candidate.rpartition(".")
            try:
                found[name] = model.get_submodule(owner), tensor_name
                break
            except AttributeError:
                continue
        else:
            if type(model).__name__ in saved_from:
                raise FormatError(
                    f"weight {name!r} of the saved model is not in {type(model).__name__}; the folder is "
                    "damaged"
                )
    return found


def untie_(model: Any, tied: Iterable[Place]) -> None:
    """Have transformers no longer tie these tensors, which are no parameters any more."""
    known = {(id(layer), tensor_name) for layer, tensor_name in tied}
    for name in list(model.all_tied_weights_keys):
        owner, _, tensor_name = name.rpartition(".")
        if (id(model.get_submodule(owner)), tensor_name) in known:
            del model.all_tied_weights_keys[name]
