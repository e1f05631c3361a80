"""The graph as JSON; reading is total: any bytes give a valid graph or a FormatError."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

from proxconnect.errors import FormatError
from proxconnect.format import InputSpec, strict_json
from proxconnect.graph.graph import DType, Graph, MemoryFormat, Node, TensorName, Value
from proxconnect.graph.validate import validate

_FLOATS = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}
_TAGS = {
    "value": (Value, int),
    "tensor": (TensorName, str),
    "dtype": (DType, str),
    "memory_format": (MemoryFormat, str),
}
_DEPTH = 50


def to_json(graph: Graph) -> bytes:
    """Canonical JSON of nodes and output; the inputs live in the file's header.

    >>> spec = InputSpec("x", "float32", ("batch", 3))
    >>> to_json(Graph((spec,), (Node("aten.relu.default", (Value(0),)),), Value(1)))
    b'{"nodes":[["aten.relu.default",[{"value":0}],{}]],"output":{"value":1}}'
    """
    nodes = [
        [
            node.op,
            [_encode(arg) for arg in node.args],
            {key: _encode(arg) for key, arg in node.kwargs.items()},
        ]
        for node in graph.nodes
    ]
    fields = {"nodes": nodes, "output": _encode_output(graph.output)}
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def from_json(data: bytes, inputs: Iterable[InputSpec], tensors: Iterable[str]) -> Graph:
    """The graph in ``data``, for these inputs and names of tensors.

    Raises:
        FormatError: the JSON is not a graph that :func:`validate` accepts.
    """
    fields = strict_json(data, "graph")
    if (
        not isinstance(fields, dict)
        or fields.keys() != {"nodes", "output"}
        or not isinstance(fields["nodes"], list)
    ):
        raise FormatError("graph: expected an object with a list of nodes and an output")
    nodes = tuple(_decode_node(node, f"graph node {i}") for i, node in enumerate(fields["nodes"]))
    graph = Graph(tuple(inputs), nodes, _decode_output(fields["output"], "graph output", _DEPTH))
    validate(graph, frozenset(tensors))
    return graph


def _encode(argument: Any) -> Any:
    if isinstance(argument, (tuple, list)):
        return [_encode(item) for item in argument]
    if isinstance(argument, Value):
        return {"value": argument.index}
    if isinstance(argument, (TensorName, DType, MemoryFormat)):
        return {next(tag for tag, (kind, _) in _TAGS.items() if kind is type(argument)): argument.name}
    if isinstance(argument, float) and not math.isfinite(argument):
        return {"float": str(argument)}
    return argument


def _encode_output(tree: Any) -> Any:
    if isinstance(tree, tuple):
        return {"tuple": [_encode_output(item) for item in tree]}
    if isinstance(tree, list):
        return {"list": [_encode_output(item) for item in tree]}
    if isinstance(tree, dict):
        return {"dict": [[key, _encode_output(item)] for key, item in tree.items()]}
    return _encode(tree)


def _decode_node(fields: Any, where: str) -> Node:
    match fields:
        case [str(op), list(args), dict(kwargs)]:
            return Node(
                op,
                tuple(_decode(arg, where, _DEPTH) for arg in args),
                {key: _decode(arg, where, _DEPTH) for key, arg in kwargs.items()},
            )
    raise FormatError(f"{where}: expected [operator, arguments, keyword arguments]")


def _decode(fields: Any, where: str, depth: int) -> Any:
    if isinstance(fields, list) and depth:
        return tuple(_decode(item, where, depth - 1) for item in fields)
    if isinstance(fields, dict) and len(fields) == 1:
        tag, content = next(iter(fields.items()))
        if tag == "float" and isinstance(content, str) and content in _FLOATS:
            return _FLOATS[content]
        kind, content_type = _TAGS.get(tag, (None, None))
        if kind is not None and content_type is not None and type(content) is content_type:
            return kind(content)
    if isinstance(fields, (list, dict)) or (type(fields) is int and not -(2**63) <= fields < 2**63):
        raise FormatError(f"{where}: unknown argument {str(fields)[:60]}")
    return fields


def _decode_output(fields: Any, where: str, depth: int) -> Any:
    if depth:
        match fields:
            case {"tuple": list(items), **rest} if not rest:
                return tuple(_decode_output(item, where, depth - 1) for item in items)
            case {"list": list(items), **rest} if not rest:
                return [_decode_output(item, where, depth - 1) for item in items]
            case {"dict": list(items), **rest} if not rest:
                return dict(_decode_entry(item, where, depth - 1) for item in items)
    if isinstance(fields, list):
        raise FormatError(f"{where}: expected a value, tuple, list or dict")
    return _decode(fields, where, 0)


def _decode_entry(fields: Any, where: str, depth: int) -> tuple[str, Any]:
    match fields:
        case [str(key), value]:
            return key, _decode_output(value, where, depth)
    raise FormatError(f"{where}: expected [key, value]")
