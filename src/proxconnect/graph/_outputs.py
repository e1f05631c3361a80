"""The output of a model in the structures that a file can hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from proxconnect.errors import ExportError
from proxconnect.graph.graph import map_leaves, named_tuple

_LEAVES = (Tensor, int, float, torch.SymInt, torch.SymFloat, torch.SymBool, type(None))


def plain(output: Any, where: str = "") -> Any:
    """Convert ``output`` to tuples, named tuples, lists and dicts.

    Dataclasses and other mappings become dicts.

    Raises:
        ExportError: the output holds anything else, such as a cache.
    """
    if isinstance(output, Mapping):
        if not all(isinstance(key, str) for key in output):
            raise ExportError("a dict in the output has a key that is not a string")
        return {key: plain(item, f"{where}.{key}") for key, item in output.items()}
    if isinstance(output, (tuple, list)):
        items = [plain(item, f"{where}[{i}]") for i, item in enumerate(output)]
        if isinstance(output, list):
            return items
        fields = getattr(output, "_fields", None)
        return tuple(items) if fields is None else named_tuple(type(output).__name__, tuple(fields))(*items)
    if dataclasses.is_dataclass(output):
        names = [field.name for field in dataclasses.fields(output)]
        return {name: plain(getattr(output, name), f"{where}.{name}") for name in names}
    if not isinstance(output, _LEAVES):
        raise ExportError(
            f"its output{where} is a {type(output).__name__}, and a network returns tensors and numbers in "
            "tuples, lists, dicts and dataclasses; if it is a cache of keys and values, set "
            "model.config.use_cache = False (and model.decoder.config.use_cache, if the decoder has a config "
            "of its own), or save a module around the model that returns the logits alone"
        )
    return output


def structure(example: Any, results: Iterable[Any]) -> Any:
    """Put ``results`` into the structure of ``example``, which is plain.

    Raises:
        ExportError: there are more or fewer results than leaves.
    """
    remaining = iter(results)
    try:
        output = map_leaves(lambda _: next(remaining), example)
    except (StopIteration, RuntimeError):
        raise ExportError("the output has more parts than torch.export gives results") from None
    if next(remaining, remaining) is not remaining:
        raise ExportError("the output has fewer parts than torch.export gives results")
    return output
