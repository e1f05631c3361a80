"""Writing of a graph as JSON, and reading: any bytes give a valid graph or a FormatError."""

from __future__ import annotations

import json
import keyword
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from proxconnect.errors import FormatError, shown
from proxconnect.format import InputSpec, SizeRange, strict_json
from proxconnect.graph.graph import DType, Graph, MemoryFormat, Node, TensorName, Value, named_tuple
from proxconnect.graph.validate import validate

_FLOATS = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}
_TAGS = {
    "value": (Value, int),
    "tensor": (TensorName, str),
    "dtype": (DType, str),
    "memory_format": (MemoryFormat, str),
}
_STRUCTURES = {"tuple", "named_tuple", "list", "dict"}
_DEPTH = 50
# Three inputs that may be left out have so many choices beside the whole.
_VARIANTS = 7


def to_json(graph: Graph) -> bytes:
    """Write canonical JSON of nodes, output and variants; the file's header has inputs and sizes.

    >>> spec = InputSpec("x", "float32", ("batch", 3))
    >>> to_json(Graph((spec,), (Node("aten.relu.default", (Value(0),)),), Value(1)))
    b'{"nodes":[["aten.relu.default",[{"value":0}],{}]],"output":{"value":1}}'
    """
    fields = _encode_graph(graph)
    if graph.variants:
        fields["variants"] = [
            {"inputs": [spec.name for spec in variant.inputs], **_encode_graph(variant)}
            for variant in graph.variants
        ]
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def from_json(
    data: bytes,
    inputs: Iterable[InputSpec],
    tensors: Iterable[str],
    sizes: Mapping[str, SizeRange] | None = None,
) -> Graph:
    """Read the graph in ``data``.

    Args:
        data: JSON that :func:`to_json` wrote.
        inputs: the inputs of the graph.
        tensors: the names of the tensors that exist.
        sizes: the bounds of the named sizes of the inputs.

    Raises:
        FormatError: the JSON is not a graph that :func:`validate` accepts.
    """
    fields, specs, names = strict_json(data, "graph"), tuple(inputs), frozenset(tensors)
    if not isinstance(fields, dict):
        raise FormatError("graph: expected an object with a list of nodes and an output")
    variants = fields.pop("variants", [])
    graph = replace(_decode_graph(fields, specs, names, "graph"), sizes=sizes or {})
    if not isinstance(variants, list) or len(variants) > _VARIANTS:
        raise FormatError(f"graph variants: expected a list of at most {_VARIANTS}")
    found = tuple(
        _decode_variant(fields, graph, names, f"graph variant {i}") for i, fields in enumerate(variants)
    )
    if len({variant.inputs for variant in (graph, *found)}) <= len(found):
        raise FormatError("graph variants: two have the same inputs")
    return replace(graph, variants=found)


def _decode_variant(fields: Any, whole: Graph, names: frozenset[str], where: str) -> Graph:
    taken = fields.pop("inputs", None) if isinstance(fields, dict) else None
    specs = tuple(spec for spec in whole.inputs if isinstance(taken, list) and spec.name in taken)
    if not specs or [spec.name for spec in specs] != taken:
        raise FormatError(f"{where}: expected the names of some of the inputs, in their order")
    sizes = {n: bounds for n, bounds in whole.sizes.items() if any(n in spec.shape for spec in specs)}
    return replace(_decode_graph(fields, specs, names, where), sizes=sizes)


def _decode_graph(fields: Any, specs: tuple[InputSpec, ...], names: frozenset[str], where: str) -> Graph:
    if fields.keys() != {"nodes", "output"} or not isinstance(fields["nodes"], list):
        raise FormatError(f"{where}: expected an object with a list of nodes and an output")
    nodes = tuple(_decode_node(node, f"{where} node {i}") for i, node in enumerate(fields["nodes"]))
    graph = Graph(specs, nodes, _decode_output(fields["output"], f"{where} output", _DEPTH))
    validate(graph, names)
    return graph


def _encode_graph(graph: Graph) -> dict[str, Any]:
    nodes = [
        [
            node.op,
            [_encode(arg) for arg in node.args],
            {key: _encode(arg) for key, arg in node.kwargs.items()},
        ]
        for node in graph.nodes
    ]
    return {"nodes": nodes, "output": _encode_output(graph.output)}


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
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        fields = [[name, _encode_output(item)] for name, item in zip(tree._fields, tree, strict=True)]
        return {"named_tuple": [type(tree).__name__, fields]}
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
    if isinstance(fields, list):
        if not depth:
            raise FormatError(f"{where}: lists are nested more than {_DEPTH} deep")
        return tuple(_decode(item, where, depth - 1) for item in fields)
    if isinstance(fields, dict) and len(fields) == 1:
        tag, content = next(iter(fields.items()))
        if tag == "float" and isinstance(content, str) and content in _FLOATS:
            return _FLOATS[content]
        kind, content_type = _TAGS.get(tag, (None, None))
        if kind is not None and content_type is not None and type(content) is content_type:
            return kind(content)
    if isinstance(fields, dict) or (type(fields) is int and not -(2**63) <= fields < 2**63):
        raise FormatError(f"{where}: unknown argument {shown(fields)}")
    return fields


def _decode_output(fields: Any, where: str, depth: int) -> Any:
    if depth:
        match fields:
            case {"tuple": list(items), **rest} if not rest:
                return tuple(_decode_output(item, where, depth - 1) for item in items)
            case {"named_tuple": [str(name), list(items)], **rest} if not rest:
                fields = dict(_decode_entry(item, where, depth - 1) for item in items)
                if len(fields) != len(items) or not all(map(_is_field, (name, *fields))):
                    raise FormatError(f"{where}: expected names that are ASCII identifiers, each once")
                return named_tuple(name, tuple(fields))(*fields.values())
            case {"list": list(items), **rest} if not rest:
                return [_decode_output(item, where, depth - 1) for item in items]
            case {"dict": list(items), **rest} if not rest:
                return dict(_decode_entry(item, where, depth - 1) for item in items)
    elif isinstance(fields, dict) and fields.keys() & _STRUCTURES:
        raise FormatError(f"{where}: it is nested more than {_DEPTH} deep")
    if isinstance(fields, list):
        raise FormatError(f"{where}: expected a value, tuple, list or dict")
    return _decode(fields, where, 0)


def _decode_entry(fields: Any, where: str, depth: int) -> tuple[str, Any]:
    match fields:
        case [str(key), value]:
            return key, _decode_output(value, where, depth)
    raise FormatError(f"{where}: expected [key, value]")


def _is_field(name: str) -> bool:
    return name.isascii() and name.isidentifier() and not name.startswith("_") and not keyword.iskeyword(name)
