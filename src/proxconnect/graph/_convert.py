"""Conversion of the graph of torch.export to a graph of the closed list of operators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from proxconnect.errors import ExportError
from proxconnect.format import InputSpec
from proxconnect.format.header import DTYPES
from proxconnect.graph._functional import make_functional
from proxconnect.graph._outputs import structure
from proxconnect.graph.graph import DType, Graph, MemoryFormat, Node, TensorName, Value
from proxconnect.graph.operators import name_of

# Arguments that place a tensor on a device: the interpreter places tensors itself.
_PLACEMENT = ("device", "layout", "pin_memory", "non_blocking")
# Checks that torch.export leaves behind; they hold for every input that the interpreter accepts.
_CHECKS = ("aten._assert", "aten.sym_constrain_range")


def convert(
    program: ExportedProgram, model: nn.Module, inputs: tuple[InputSpec, ...], example_output: Any
) -> tuple[Graph, dict[str, Tensor]]:
    """Convert an exported program to a graph.

    Args:
        program: the result of torch.export for a module that holds ``model`` as its part ``model``.
        model: the model; its tensors keep their names.
        inputs: the specifications of the program's inputs, in order.
        example_output: plain output of the model, with a leaf for each result of the program.

    Returns:
        The graph, and the tensors that it reads beyond the model's parameters and persistent buffers.

    Raises:
        ExportError: an operator is not on the list, or a file cannot hold an argument or the output.
    """
    graph = program.graph_module.graph
    signature = program.graph_signature
    targets = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    targets |= signature.inputs_to_lifted_tensor_constants
    own_names = {place: target.removeprefix("model.") for place, target in targets.items()}
    own_names |= dict(zip(map(str, signature.user_inputs), (spec.name for spec in inputs), strict=True))
    _inline_regions(program.graph_module)
    make_functional(graph, own_names)
    _remove_unused(graph)
    canonical = canonical_names(model)
    persistent = model.state_dict(keep_vars=True).keys()
    values: dict[fx.Node, Any] = {}
    constants: dict[str, Tensor] = {}
    nodes: list[Node] = []
    output: Any = None
    position = 0
    for node in graph.nodes:
        if node.name in targets:
            name = canonical.get(own_names[node.name], own_names[node.name])
            values[node] = TensorName(name)
            if name not in persistent and node.users:
                constants[name] = program.constants[targets[node.name]].detach()
        elif node.op == "placeholder":
            values[node] = Value(position)
            position += 1
        elif node.op == "output":
            output = structure(example_output, [_argument(result, values) for result in node.args[0]])
        else:
            values[node] = Value(len(inputs) + len(nodes))
            nodes.append(_node(node, values))
    return Graph(inputs, tuple(nodes), output), constants


def canonical_names(model: nn.Module) -> dict[str, str]:
    """Map every name of a parameter or buffer to the first name of its tensor, which is stored once.

    >>> layer = nn.Linear(2, 2, bias=False)
    >>> canonical_names(nn.Sequential(layer, layer))
    {'0.weight': '0.weight', '1.weight': '0.weight'}
    """
    first: dict[int, str] = {}
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    return {name: first.setdefault(id(tensor), name) for name, tensor in named}


def _inline_regions(module: fx.GraphModule) -> None:
    """Replace regions of another gradient mode, or without autocast, by their operators."""
    for node in list(module.graph.nodes):
        if node.op != "call_function":
            continue
        match str(node.target), node.args:
            case "wrap_with_set_grad_enabled", (_, fx.Node() as region, *args):
                pass
            case "wrap_with_autocast", (_, _, False, _, fx.Node() as region, *args):
                pass
            case "wrap_with_autocast", _:
                raise ExportError(
                    "its forward computes under autocast, and a packed network does not: take the region out "
                    "of it; after Accelerate, pass accelerator.unwrap_model(model, keep_fp32_wrapper=False)"
                )
            case _:
                continue
        inner = module.get_submodule(str(region.target))
        if not isinstance(inner, fx.GraphModule):
            raise ExportError(f"region {region.target!r} has no graph")
        _inline_regions(inner)
        placeholders = [n for n in inner.graph.nodes if n.op == "placeholder"]
        copies: dict[fx.Node, Any] = dict(zip(placeholders, args, strict=True))
        with module.graph.inserting_before(node):
            results = module.graph.graph_copy(inner.graph, copies)
        for user in list(node.users):
            user.replace_all_uses_with(results[user.args[1]])  # type: ignore[index]
            module.graph.erase_node(user)
        module.graph.erase_node(node)


def _remove_unused(graph: fx.Graph) -> None:
    for node in reversed(list(graph.nodes)):
        is_check = node.op == "call_function" and str(node.target).startswith(_CHECKS)
        if is_check or (node.op in ("call_function", "get_attr") and not node.users):
            graph.erase_node(node)


def _node(node: fx.Node, values: Mapping[fx.Node, Any]) -> Node:
    op, args, kwargs = name_of(node.target), node.args, node.kwargs
    if node.target is torch.ops.aten.to.device:
        op, args = "aten.to.dtype", (args[0], *args[2:])
    if node.op != "call_function" or op is None:
        raise ExportError(f"{node.target} is not on the closed list of operators")
    return Node(
        op,
        tuple(_argument(argument, values) for argument in args),
        {name: _argument(argument, values) for name, argument in kwargs.items() if name not in _PLACEMENT},
    )


def _argument(argument: Any, values: Mapping[fx.Node, Any]) -> Any:
    match argument:
        case fx.Node():
            return values[argument]
        case tuple() | list():
            return tuple(_argument(item, values) for item in argument)
        case torch.dtype():
            name = str(argument).removeprefix("torch.")
            if name not in DTYPES:
                raise ExportError(f"dtype {name} is not one that a packed file holds")
            return DType(name)
        case torch.memory_format():
            return MemoryFormat(str(argument).removeprefix("torch."))
        case None | bool() | int() | float() | str():
            return argument
    raise ExportError(f"an argument is a {type(argument).__name__}: {argument!r}")
