"""The network as steps of C: values, constants and the functions that the steps call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from proxconnect.errors import ExportError
from proxconnect.export._source import LevelWeight, Source
from proxconnect.export.c._constants import Constants
from proxconnect.export.c._memory import Step
from proxconnect.graph import Node, TensorName, Value
from proxconnect.graph.operators import resolve


@dataclass(frozen=True)
class Array:
    """Floats that lie in order: a value, by its number, or a constant, by its name in C.

    ``first`` is the place of the first element in the value, and ``signs`` says that all are -1 or +1, and
    which value they are the signs of.
    """

    root: int | str
    shape: tuple[int, ...]
    first: int = 0
    signs: Array | None = None
    whole: bool = False  # whole numbers

    @property
    def size(self) -> int:
        """The number of elements."""
        return torch.Size(self.shape).numel()

    @property
    def read(self) -> tuple[int | str, int]:
        """The array as a step reads it."""
        return self.root, self.first


@dataclass
class Program:
    """The steps of a network for one sample, while they are made.

    Args:
        source: the network, folded.
        results: by number, what each value is for one sample: a tensor on the meta device, a number, or a
            list of tensors.
    """

    source: Source
    results: dict[int, Any]
    constants: Constants = field(default_factory=Constants)
    steps: list[Step] = field(default_factory=list)
    functions: set[str] = field(default_factory=set)
    arrays: dict[int, Any] = field(default_factory=dict)
    _made: dict[object, Any] = field(default_factory=dict)
    _count: int = 0

    def argument(self, leaf: Any) -> Any:
        """Return an argument of a node: an array for a value or tensor, a number for a size."""
        if isinstance(leaf, Value):
            found = self.arrays.get(leaf.index)
            result = self.results[leaf.index]
            return result if found is None and isinstance(result, int) else found
        return self.constant(leaf.name) if isinstance(leaf, TensorName) else leaf

    def array(self, leaf: Any) -> Array:
        """Return the floats of an argument, and write signs out if it is signs.

        Raises:
            ExportError: it is none of floats.
        """
        found = self.argument(leaf)
        if not isinstance(found, Array):
            raise ExportError("an argument that is no tensor of float32")
        if found.signs is not None:
            key = "signs", found.signs
            if key not in self._made:
                self._made[key] = self.add(
                    "signs", f"for (int i = 0; i < {found.size}; ++i) y[i] = x0[i] < 0 ? -1.0f : 1.0f;",
                    [found.signs], found.shape,
                )  # fmt: skip
            return self._made[key]  # type: ignore[no-any-return]
        return found

    def constant(self, name: str) -> Array:
        """Return a tensor of the network as a constant array of floats."""
        tensor = self.source.tensor(name)
        if tensor.dtype != torch.float32:
            raise ExportError(f"tensor {name!r} of {str(tensor.dtype).removeprefix('torch.')}")
        return Array(self.constants.array(name, tensor), tuple(tensor.shape))

    def weight(self, leaf: Any) -> LevelWeight | Tensor | None:
        """Return the tensor of an argument that is a weight with its rows along dimension 0, else None."""
        if not isinstance(leaf, TensorName):
            return None
        found = self.source.weights.get(leaf.name)
        return self.source.tensor(leaf.name) if found is None or found.rows.transposed else found

    def new(self) -> int:
        """Return the number of a new value."""
        self._count -= 1
        return self._count

    def add(
        self,
        comment: str,
        lines: str | Sequence[str],
        reads: Sequence[Array],
        shape: Sequence[int],
        *,
        elementwise: bool = False,
        scratch: int = 0,
        kind: str = "float",
    ) -> Array:
        """Add a step, and return the array that it writes."""
        result = self.new()
        size = torch.Size(shape).numel()
        lines = [lines] if isinstance(lines, str) else lines
        places = [array.read for array in reads]
        self.steps.append(Step(comment, lines, places, result, size, kind, elementwise, scratch))
        return Array(result, tuple(shape))

    def once(self, key: object, make: Callable[[], Array]) -> Array:
        """Return what ``make`` made when it was first called for this key."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]  # type: ignore[no-any-return]


Emitter = Callable[[Program, Node, Tensor], Array]


def arguments(node: Node) -> dict[str, Any]:
    """Return the arguments of a node by name, with the defaults of its operator."""
    schema = resolve(node.op)._schema.arguments  # type: ignore[attr-defined]
    given = dict(zip((argument.name for argument in schema), node.args, strict=False)) | dict(node.kwargs)
    return {argument.name: given.get(argument.name, argument.default_value) for argument in schema}
