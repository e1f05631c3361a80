"""Example inputs with the names that the model's forward gives them."""

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
    """One input with its name and tensor.

    ``keyword`` is True if the input is passed by name only, ``has_default`` if the forward has a default for
    it.
    """

    name: str
    tensor: Tensor
    keyword: bool = False
    has_default: bool = False


def named_examples(model: nn.Module, examples: Examples) -> tuple[Example, ...]:
    """Order the inputs as the parameters of the forward, and copy them to the CPU.

    None stands for an input that is left out. An input is passed by name if the forward takes it so, or if an
    input before it is left out.

    Raises:
        ExportError: the examples do not fit this forward, or are not tensors of one batch size.
    """
    parameters = inspect.signature(model.forward).parameters
    if isinstance(examples, Mapping):
        found = _by_name(dict(examples), parameters)
    else:
        found = _by_place([examples] if isinstance(examples, Tensor) else list(examples), parameters)
    if not found or not all(isinstance(one.tensor, Tensor) and one.tensor.ndim for one in found):
        raise ExportError(
            "example_inputs must be one tensor, a tuple of tensors, or a dict of tensors by name, each with "
            "the batch first"
        )
    batches = {example.tensor.shape[0] for example in found}
    if len(batches) > 1 or 0 in batches:
        raise ExportError(f"example_inputs must share one batch size of at least 1, found {sorted(batches)}")
    return tuple(replace(example, tensor=example.tensor.detach().cpu()) for example in found)


def without(examples: Sequence[Example], left_out: Sequence[Example]) -> tuple[Example, ...]:
    """Return ``examples`` without those that are left out; the inputs after a gap are passed by name."""
    kept: list[Example] = []
    gap = False
    for example in examples:
        gap = gap or example in left_out
        if example not in left_out:
            kept.append(replace(example, keyword=example.keyword or gap))
    return tuple(kept)


def call(model: nn.Module, examples: Sequence[Example], tensors: Sequence[Tensor]) -> Any:
    """Call the model with ``tensors`` in place of the tensors of the examples."""
    pairs = list(zip(examples, tensors, strict=True))
    named = {example.name: tensor for example, tensor in pairs if example.keyword}
    return model(*(tensor for example, tensor in pairs if not example.keyword), **named)


def resized(examples: Sequence[Example], batch: int, sizes: Sequence[Mapping[int, int]]) -> list[Tensor]:
    """Repeat or cut the tensors of the examples to ``batch`` and to other sizes by dimension."""
    tensors = []
    for example, changed in zip(examples, sizes, strict=True):
        tensor = example.tensor
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
