"""A network as data: nodes in order, each an operator of the closed list applied to earlier values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from proxconnect.format import InputSpec


@dataclass(frozen=True)
class Value:
    """The input or node result with this number: inputs come first, then the nodes in order."""

    index: int


@dataclass(frozen=True)
class TensorName:
    """A parameter, buffer or constant of the network, by its fully qualified name."""

    name: str


@dataclass(frozen=True)
class DType:
    """A torch dtype, by name."""

    name: str


@dataclass(frozen=True)
class MemoryFormat:
    """A torch memory format, by name."""

    name: str


# None, bool, int, float, str, Value, TensorName, DType, MemoryFormat, or a tuple of these.
Argument: TypeAlias = Any


@dataclass(frozen=True)
class Node:
    """One application of an operator."""

    op: str
    args: tuple[Argument, ...]
    kwargs: Mapping[str, Argument] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """Inputs, nodes, and the structure of the output: values in tuples, lists and dicts."""

    inputs: tuple[InputSpec, ...]
    nodes: tuple[Node, ...]
    output: Any

    def tensor_names(self) -> set[str]:
        """Names of all parameters, buffers and constants that the graph reads."""
        arguments = [(*node.args, *node.kwargs.values()) for node in self.nodes]
        return {leaf.name for leaf in leaves([arguments, self.output]) if isinstance(leaf, TensorName)}


def map_leaves(function: Callable[[Any], Any], tree: Any) -> Any:
    """``tree`` with ``function`` applied to everything that is not a tuple, list or dict."""
    if isinstance(tree, (tuple, list)):
        return type(tree)(map_leaves(function, item) for item in tree)
    if isinstance(tree, dict):
        return {key: map_leaves(function, item) for key, item in tree.items()}
    return function(tree)


def leaves(tree: Any) -> Iterator[Any]:
    """Everything in ``tree`` that is not a tuple, list or dict, in order."""
    if isinstance(tree, (tuple, list)):
        for item in tree:
            yield from leaves(item)
    elif isinstance(tree, Mapping):
        for item in tree.values():
            yield from leaves(item)
    else:
        yield tree
