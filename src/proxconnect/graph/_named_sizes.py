"""The sizes that may vary, and their bounds, as the user gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from proxconnect.errors import ExportError
from proxconnect.format import SizeRange
from proxconnect.graph._examples import Example

Size = str | tuple[str] | tuple[str, int | None] | tuple[str, int | None, int | None]
Dynamic = Mapping[int | str, Size | Mapping[int, Size]]
_EXPECTED = (
    "expected a dimension from 1: a name, or a name with the least and the greatest size, such as "
    '("height", 32, 512)'
)
Bounds = tuple[int | None, int | None]
_FREE: Bounds = (None, None)


@dataclass(frozen=True)
class NamedSizes:
    """The names of the sizes that vary, for each input by dimension, and the bounds that the user gave."""

    names: tuple[Mapping[int, str], ...]
    bounds: Mapping[str, Bounds]

    def at(self, sizes: Mapping[str, int]) -> list[dict[int, int]]:
        """Turn sizes by name into sizes by dimension, for each input."""
        return [{d: sizes[name] for d, name in names.items() if name in sizes} for names in self.names]


def named_sizes(examples: Sequence[Example], dynamic: Dynamic) -> NamedSizes:
    """Read ``dynamic``; an entry without an input counts for all inputs that have the dimension.

    Raises:
        ExportError: an entry has an input, dimension, name or bound that is not possible.
    """
    names: list[dict[int, str]] = [{} for _ in examples]
    bounds: dict[str, Bounds] = {}
    for key, entry in dynamic.items():
        chosen, sizes = _place(key, entry, examples)
        for dimension, size in sizes.items():
            name, given = _size(key, dimension, size)
            if not chosen or any(dimension not in range(1, examples[i].tensor.ndim) for i in chosen):
                raise ExportError(f"dynamic[{key!r}] has {dimension!r}: {size!r}; {_EXPECTED}")
            for i in chosen:
                names[i][dimension] = name
            known = bounds.get(name, _FREE)
            if len({known, given, _FREE}) > 2:
                raise ExportError(f"dynamic gives {name!r} two ranges, {known} and {given}")
            bounds[name] = known if given == _FREE else given
    named = NamedSizes(tuple(names), bounds)
    for name, found in example_sizes(examples, named).items():
        wanted = SizeRange(bounds[name][0] or 1, bounds[name][1])
        if found not in wanted:
            raise ExportError(f"the example's {name} is {found}, but {name} is to be {wanted}")
    return named


def _place(
    key: int | str, entry: Size | Mapping[int, Size], examples: Sequence[Example]
) -> tuple[list[int], Mapping[int, Size]]:
    """Find the inputs of an entry, and read its sizes by dimension."""
    if not isinstance(entry, Mapping):
        dimension = key if isinstance(key, int) else 0
        return [i for i, example in enumerate(examples) if example.tensor.ndim > dimension], {
            dimension: entry
        }
    inputs = [example.name for example in examples]
    index = inputs.index(key) if isinstance(key, str) and key in inputs else key
    if not isinstance(index, int) or not 0 <= index < len(inputs):
        raise ExportError(f"dynamic names input {key!r}; expected 0 to {len(inputs) - 1} or one of {inputs}")
    return [index], entry


def _size(key: object, dimension: object, size: Any) -> tuple[str, Bounds]:
    name, *bounds = size if isinstance(size, (tuple, list)) and size else (size,)
    least, most = (*bounds, None, None)[:2]
    named = isinstance(name, str) and name.isidentifier() and name != "batch" and len(bounds) <= 2
    if not named or any(bound is not None and type(bound) is not int for bound in bounds):
        raise ExportError(f"dynamic[{key!r}] has {dimension!r}: {size!r}; {_EXPECTED}")
    if (least is not None and least < 1) or (most is not None and most < (least or 1)):
        raise ExportError(f"dynamic: {name} cannot be from {least} to {most}")
    return name, (least, most)


def example_sizes(examples: Sequence[Example], named: NamedSizes) -> dict[str, int]:
    """Read the sizes of the examples by name.

    Raises:
        ExportError: two sizes of one name differ.
    """
    sizes: dict[str, int] = {}
    for example, names in zip(examples, named.names, strict=True):
        for dimension, name in names.items():
            size = example.tensor.shape[dimension]
            if sizes.setdefault(name, size) != size:
                raise ExportError(f"the example's {name} is {sizes[name]} in one place and {size} in another")
    return sizes
