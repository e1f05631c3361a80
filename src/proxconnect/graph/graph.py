"""The graph of a network: nodes in order, each an operator of the closed list applied to earlier values."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeAlias

from proxconnect.format import InputSpec, SizeRange


@dataclass(frozen=True)
class Value:
    """The input or the node result of this number: inputs come first, then the nodes in order."""

    index: int


@dataclass(frozen=True)
class TensorName:
    """A parameter, buffer or constant of the network, by its fully qualified name."""

    name: str


@dataclass(frozen=True)
class DType:
    """The name of a torch dtype."""

    name: str


@dataclass(frozen=True)
class MemoryFormat:
    """The name of a torch memory format."""

    name: str


# None, bool, int, float, str, Value, TensorName, DType, MemoryFormat, or a tuple of these.
Argument: TypeAlias = Any
# Python takes long to tell that something is no Mapping, so these kinds of leaves are told by themselves.
_PLAIN = (Value, TensorName, DType, MemoryFormat, int, float, str, type(None))


@dataclass(frozen=True)
class Node:
    """One application of an operator."""

    op: str
    args: tuple[Argument, ...]
    kwargs: Mapping[str, Argument] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """A network: its inputs, its nodes, and its output as values in tuples, named tuples, lists and dicts.

    ``sizes`` has the bounds of the named sizes of the inputs. ``variants`` are graphs of the same network
    that take fewer of the inputs.
    """

    inputs: tuple[InputSpec, ...]
    nodes: tuple[Node, ...]
    output: Any
    sizes: Mapping[str, SizeRange] = field(default_factory=dict)
    variants: tuple[Graph, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the inputs, in order."""
        return tuple(spec.name for spec in self.inputs)


def map_leaves(function: Callable[[Any], Any], tree: Any) -> Any:
    """Apply ``function`` to everything in ``tree`` that is not a tuple, list or dict."""
    if isinstance(tree, (tuple, list)):
        items = [map_leaves(function, item) for item in tree]
        return type(tree)(*items) if hasattr(tree, "_fields") else type(tree)(items)
    if isinstance(tree, dict):
        return {key: map_leaves(function, item) for key, item in tree.items()}
    return function(tree)


def leaves(tree: Any) -> list[Any]:
    """List everything in ``tree`` that is not a tuple, list or dict, in order."""
    found: list[Any] = []
    _collect(tree, found)
    return found


def _collect(tree: Any, found: list[Any]) -> None:
    if isinstance(tree, (tuple, list)):
        for item in tree:
            _collect(item, found)
    elif isinstance(tree, _PLAIN) or not isinstance(tree, Mapping):
        found.append(tree)
    else:
        for item in tree.values():
            _collect(item, found)


@cache
def named_tuple(name: str, fields: tuple[str, ...]) -> type[Any]:
    """Return the class of named tuples of this name and fields; equal arguments return the same class.

    >>> named_tuple("Output", ("logits", "hidden"))(1, 2)
    Output(logits=1, hidden=2)
    """
    return namedtuple(name, fields)
