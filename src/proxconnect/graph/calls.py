"""Binding of a call's inputs, given by place, by name or as a dict, to the inputs of a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from proxconnect.errors import ProxConnectError
from proxconnect.graph.graph import Graph


def bound(graph: Graph, inputs: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the inputs by name, in the order of the graph or of one of its variants.

    Args:
        graph: the graph with its variants.
        inputs: inputs by place, or one mapping of inputs by name; None stands for an input that is left out.
        named: further inputs by name.

    Raises:
        ProxConnectError: a name is unknown or given twice, there are too many inputs, or one is missing.

    >>> from proxconnect.format import InputSpec
    >>> from proxconnect.graph import Node, Value
    >>> specs = InputSpec("x", "float32", ("batch",)), InputSpec("y", "float32", ("batch",))
    >>> graph = Graph(specs, (Node("aten.add.Tensor", (Value(0), Value(1))),), Value(2))
    >>> list(bound(graph, ["a tensor"], {"y": "another"}))
    ['x', 'y']
    """
    for mapping in inputs if len(inputs) == 1 and isinstance(inputs[0], Mapping) else ():
        inputs, named = (), {**mapping, **named}
    places = [spec.name for spec in graph.inputs if not spec.keyword]
    if len(inputs) > len(places):
        raise ProxConnectError(_refusal(graph, f"got {len(inputs)} by place"))
    given = dict(zip(places, inputs, strict=False))
    for name, tensor in named.items():
        if name not in graph.names:
            raise ProxConnectError(_refusal(graph, f"and none that is called {name!r}"))
        if name in given:
            raise ProxConnectError(_refusal(graph, f"got {name!r} twice"))
        given[name] = tensor
    found = {name: given[name] for name in graph.names if given.get(name) is not None}
    if not any(tuple(found) == form.names for form in (graph, *graph.variants)):
        raise ProxConnectError(
            _refusal(graph, f"got {len(found)}" + (f" ({', '.join(found)})" if found else ""))
        )
    return found


def _refusal(graph: Graph, found: str) -> str:
    count, names = len(graph.inputs), ", ".join(graph.names)
    text = f"the network takes {count} input{'' if count == 1 else 's'} ({names}), {found}"
    if graph.variants:
        text += "; or only " + " or ".join(f"({', '.join(variant.names)})" for variant in graph.variants)
    return text
