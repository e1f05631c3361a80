"""Example inputs, by the names that the model's forward gives them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from inspect import Parameter
from typing import Any

import torch
from torch import Tensor, nn

from proxconnect.errors import ExportError

Examples = Tensor | Sequence[Tensor | None] | Mapping[str, Tensor | None]
_BY_PLACE = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True)
class Example:
    """One input: its name, its tensor, whether it goes by name alone, and whether it has a default."""

    name: str
    tensor: Tensor
    keyword: bool = False
    has_default: bool = False


def named_examples(model: nn.Module, examples: Examples) -> tuple[Example, ...]:
    """The inputs in the order of the forward's parameters, on the CPU; None stands for one that is left out.

    An input goes by name alone where the forward says so, or where one before it is left out.

    Raises:
        ExportError: they are no inputs of this forward, or not tensors of one batch size.
    """
    parameters = inspect.signature(model.forward).parameters
    if isinstance(examples, Mapping):
        found = _by_name(dict(examples), parameters)
    else:
        found = _by_place([examples] if isinstance(examples, Tensor) else list(examples), parameters)
    if not found or not all(isinstance(each.tensor, Tensor) and each.tensor.ndim for each in found):
        raise ExportError(
            "example_inputs must be one tensor, a tuple of tensors, or a dict of tensors by name, each with "
            "the batch first"
        )
    batches = {each.tensor.shape[0] for each in found}
    if len(batches) > 1 or 0 in batches:
        raise ExportError(f"example_inputs must share one batch size of at least 1, found {sorted(batches)}")
    return tuple(replace(each, tensor=each.tensor.detach().cpu()) for each in found)


def without(examples: Sequence[Example], left_out: Sequence[Example]) -> tuple[Example, ...]:
    """``examples`` but those that are left out; what follows one of them goes by name."""
    kept: list[Example] = []
    gap = False
    for each in examples:
        gap = gap or each in left_out
        if each not in left_out:
            kept.append(replace(each, keyword=each.keyword or gap))
    return tuple(kept)


def call(model: nn.Module, examples: Sequence[Example], tensors: Sequence[Tensor]) -> Any:
    """The model's output for ``tensors`` in the place of the examples'."""
    pairs = list(zip(examples, tensors, strict=True))
    named = {each.name: tensor for each, tensor in pairs if each.keyword}
    return model(*(tensor for each, tensor in pairs if not each.keyword), **named)


def resized(examples: Sequence[Example], batch: int, sizes: Sequence[Mapping[int, int]]) -> list[Tensor]:
    """The examples' tensors, repeated or cut to ``batch`` and to other sizes by dimension."""
    tensors = []
    for each, changed in zip(examples, sizes, strict=True):
        tensor = each.tensor
        for dimension, size in {0: batch, **changed}.items():
            places = torch.arange(size, dtype=torch.int64, device=tensor.device) % tensor.shape[dimension]
            tensor = tensor.index_select(dimension, places)
        tensors.append(tensor)
    return tensors


def _by_place(tensors: list[Any], parameters: Mapping[str, Parameter]) -> list[Example]:
    names: list[tuple[str, bool]] = []
    for name, parameter in parameters.items():
        if parameter.kind in _BY_PLACE:
            names.append((name, parameter.default is not Parameter.empty))
        elif parameter.kind == Parameter.VAR_POSITIONAL:
            names += [(f"{name}_{i}", False) for i in range(len(tensors) - len(names))]
    if len(tensors) > len(names):
        raise ExportError(f"example_inputs has {len(tensors)} inputs, but the forward takes {len(names)}")
    found, gap = [], False
    for (name, has_default), tensor in zip(names, tensors, strict=False):
        gap = gap or tensor is None
        if tensor is not None:
            found.append(Example(name, tensor, gap, has_default))
    return found


def _by_name(tensors: dict[str, Any], parameters: Mapping[str, Parameter]) -> list[Example]:
    tensors = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    found, gap = [], False
    takes_more = any(parameter.kind == Parameter.VAR_KEYWORD for parameter in parameters.values())
    for name, parameter in parameters.items():
        gap = gap or parameter.kind not in _BY_PLACE or name not in tensors
        if name in tensors and parameter.kind in (*_BY_PLACE, Parameter.KEYWORD_ONLY):
            has_default = parameter.default is not Parameter.empty
            found.append(Example(name, tensors.pop(name), gap, has_default))
    for name, tensor in tensors.items():
        if not takes_more or not name.isidentifier():
            raise ExportError(f"the forward has no input {name!r}; its inputs are {', '.join(parameters)}")
        found.append(Example(name, tensor, keyword=True, has_default=True))
    return found
