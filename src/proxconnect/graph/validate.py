"""The rules of a graph: operators are on the list, arguments fit, values are defined before their use."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch

from proxconnect.errors import FormatError, shown
from proxconnect.format import torch_dtype
from proxconnect.format.header import DTYPES
from proxconnect.graph.graph import DType, Graph, MemoryFormat, Node, TensorName, Value, leaves
from proxconnect.graph.operators import GETITEM, OPERATORS, resolve

MEMORY_FORMATS = ("contiguous_format", "preserve_format", "channels_last", "channels_last_3d")
# These arguments make an operator random or make it write, so they must be off.
_OFF = ("training", "train", "dropout_p", "use_input_stats")
# A norm that takes the statistics of its input would write to these arguments. Without them it is pure.
_RUNNING = ("running_mean", "running_var")

# The kind of a value: "Tensor", "int", "List[Tensor]", or a tuple of these for several results.
Kind = str | tuple[str, ...]


def validate(graph: Graph, tensors: frozenset[str]) -> None:
    """Check that every node and the output follow the rules.

    Args:
        graph: any graph, read from a file or captured.
        tensors: the names of the tensors that exist.

    Raises:
        FormatError: a node or the output breaks a rule; the message names it.

    >>> from proxconnect.format import InputSpec
    >>> spec = InputSpec("x", "float32", ("batch",))
    >>> validate(Graph((spec,), (Node("aten.save.default", (Value(0),)),), Value(1)), frozenset())
    Traceback (most recent call last):
    ...
    proxconnect.errors.FormatError: graph node 0 ('aten.save.default'): operator 'aten.save.default' is ...
    """
    if not graph.inputs:
        raise FormatError("graph: expected at least one input")
    kinds: list[Kind] = ["Tensor"] * len(graph.inputs)
    for i, node in enumerate(graph.nodes):
        try:
            _check_references(node, kinds, tensors)
            kinds.append(_kind_of_item(node, kinds) if node.op == GETITEM else _kind_of_call(node, kinds))
        except FormatError as error:
            raise FormatError(
                f"graph node {i} ({node.op if node.op in OPERATORS else shown(node.op)}): {error}"
            ) from None
    for leaf in leaves(graph.output):
        _check_reference(leaf, kinds, tensors)
        if isinstance(leaf, (str, DType, MemoryFormat)):
            raise FormatError(f"graph output: {shown(leaf)} is neither a value nor a number")


def _check_references(node: Node, kinds: list[Kind], tensors: frozenset[str]) -> None:
    for leaf in leaves((node.args, node.kwargs)):
        _check_reference(leaf, kinds, tensors)


def _check_reference(leaf: Any, kinds: list[Kind], tensors: frozenset[str]) -> None:
    if isinstance(leaf, Value) and not 0 <= leaf.index < len(kinds):
        raise FormatError(f"value {shown(leaf.index)} is not defined before it is used")
    if isinstance(leaf, TensorName) and leaf.name not in tensors:
        raise FormatError(f"the file has no tensor {shown(leaf.name)}")


def _kind_of_item(node: Node, kinds: list[Kind]) -> Kind:
    match node.args:
        case (Value(index), int(item)) if not node.kwargs and type(item) is int:
            kind = kinds[index]
            if kind == "List[Tensor]" and item >= 0:
                return "Tensor"
            if isinstance(kind, tuple) and 0 <= item < len(kind):
                return kind[item]
    raise FormatError("expected a result that is a tuple or list, and a position in it")


def _kind_of_call(node: Node, kinds: list[Kind]) -> Kind:
    function = resolve(node.op)
    if not isinstance(function, torch._ops.OpOverload):
        arity = len(inspect.signature(function).parameters)
        if node.kwargs or len(node.args) != arity or not all(_fits("int", arg, kinds) for arg in node.args):
            raise FormatError(f"expected {arity} whole numbers")
        return "int"
    schema = function._schema
    arguments = {argument.name: argument for argument in schema.arguments}
    positional = [argument.name for argument in schema.arguments if not argument.kwarg_only]
    if len(node.args) > len(positional):
        raise FormatError(f"{len(node.args)} arguments, at most {len(positional)} expected")
    given = dict(zip(positional, node.args, strict=False))
    for name, argument in node.kwargs.items():
        if name not in arguments or name in given:
            raise FormatError(f"argument {shown(name)} is unknown or given twice")
        given[name] = argument
    for name, declared in arguments.items():
        if name not in given:
            if not declared.has_default_value():
                raise FormatError(f"argument {name!r} is missing")
        elif not _fits(str(declared.real_type), given[name], kinds):
            raise FormatError(f"argument {name!r}: expected {declared.real_type}, found {shown(given[name])}")
        elif name in _OFF and given[name] and not _takes_no_statistics(given):
            raise FormatError(f"argument {name!r} must be off: graphs are for inference")
    results = tuple(str(result.type) for result in schema.returns)
    return results[0] if len(results) == 1 else results


def _takes_no_statistics(given: Mapping[str, Any]) -> bool:
    """Tell whether the call is the call of a norm without running statistics."""
    return all(name in given and given[name] is None for name in _RUNNING)


def _fits(declared: str, argument: Any, kinds: list[Kind]) -> bool:
    """Tell whether ``argument`` can be passed where an operator's schema declares ``declared``."""
    if declared.startswith("Optional["):
        return argument is None or _fits(declared[9:-1], argument, kinds)
    if isinstance(argument, Value):
        kind = kinds[argument.index]
        return kind == declared or (kind == "int" and declared in ("Tensor", "number", "float", "List[int]"))
    if declared.startswith("List["):
        if isinstance(argument, tuple):
            return all(_fits(declared[5:-1], item, kinds) for item in argument)
        return declared == "List[int]" and type(argument) is int
    match declared:
        case "Tensor":
            return isinstance(argument, TensorName) or type(argument) in (int, float)
        case "number":
            return type(argument) in (int, float, bool)
        case "float":
            return type(argument) in (int, float)
        case "int" | "bool" | "str":
            return type(argument).__name__ == declared
        case "ScalarType":
            return isinstance(argument, DType) and argument.name in DTYPES
        case "MemoryFormat":
            return isinstance(argument, MemoryFormat) and argument.name in MEMORY_FORMATS
    return False  # devices, layouts and generators are not for a file to choose


def concrete(argument: Any) -> Any:
    """Return the torch object of a leaf of a validated graph; values and tensors stay as they are."""
    if isinstance(argument, DType):
        return torch_dtype(argument.name)
    if isinstance(argument, MemoryFormat):
        return getattr(torch, argument.name)
    return argument
