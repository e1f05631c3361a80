"""A network lowered to steps of C, operator by operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from proxconnect.errors import ExportError
from proxconnect.export._fold import SIGNS, with_signs
from proxconnect.export._source import Source
from proxconnect.export.c._elementwise import ELEMENTWISE
from proxconnect.export.c._products import PRODUCTS
from proxconnect.export.c._program import Array, Emitter, Program
from proxconnect.export.c._reductions import REDUCTIONS
from proxconnect.export.c._shapes import MOVES, views
from proxconnect.format import torch_dtype
from proxconnect.graph import Graph, Interpreter, Node, TensorName, Value
from proxconnect.graph.graph import leaves
from proxconnect.graph.operators import GETITEM, resolve

EMITTERS: dict[str, Emitter] = {**PRODUCTS, **ELEMENTWISE, **REDUCTIONS, **MOVES}


def lowered(source: Source) -> tuple[Program, list[Array]]:
    """Make the steps of a folded network for one sample, and the arrays of its output.

    Raises:
        ExportError: sizes vary beside the batch, an input is not float32, or operators have no form in C;
            the message names all of these.
    """
    source = replace(source, graph=with_signs(source.graph))
    graph = source.graph
    _refuse_inputs(graph)
    program = Program(source, _results(source))
    for index in range(len(graph.inputs)):
        program.arrays[index] = Array(index, tuple(program.results[index].shape))
    refused: list[str] = []
    for index, node in enumerate(graph.nodes, start=len(graph.inputs)):
        result = program.results[index]
        if isinstance(result, int | float):
            continue
        try:
            program.arrays[index] = _made(program, node, result)
        except ExportError as error:
            refused.append(f"{node.op.removeprefix('aten.')} ({error})")
            program.arrays[index] = None
    refused = [reason for reason in dict.fromkeys(refused) if "(its input)" not in reason]
    if refused:
        raise ExportError(f"a C file cannot compute {', '.join(refused)}")
    results = [leaf for leaf in leaves(graph.output) if isinstance(leaf, Value | TensorName)]
    outputs = [program.array(leaf) for leaf in results]
    return program, outputs


def _made(program: Program, node: Node, result: Any) -> Any:
    """Return what a node gives: an array, or a list of arrays."""
    given = [program.argument(leaf) for leaf in leaves((node.args, node.kwargs)) if isinstance(leaf, Value)]
    if any(array is None for array in given):
        raise ExportError("its input")
    if any(tensor.dtype != torch.float32 for tensor in leaves(result) if isinstance(tensor, Tensor)):
        raise ExportError("values other than float32")
    if node.op == GETITEM:
        return given[0][node.args[1]]
    if node.op == SIGNS:
        x = program.array(node.args[0])
        return Array(x.root, x.shape, x.first, signs=x, whole=True)
    found = views(program, node)
    if found is not None:
        return found
    if node.op not in EMITTERS:
        raise ExportError("no such operator")
    return EMITTERS[node.op](program, node, result)


def _refuse_inputs(graph: Graph) -> None:
    for spec in graph.inputs:
        varying = [size for size in spec.shape if isinstance(size, str) and size != "batch"]
        if varying:
            raise ExportError(
                f"size {varying[0]!r} of input {spec.name!r} varies, and the memory of a C file does not: "
                "save the network without dynamic"
            )
        if spec.dtype != "float32":
            raise ExportError(f"input {spec.name!r} is {spec.dtype}; a C file takes float32")


def _results(source: Source) -> dict[int, Any]:
    """Run the network without data for one sample; return what each value is."""
    found: list[Any] = [
        torch.empty(
            [1 if isinstance(size, str) else size for size in spec.shape],
            dtype=torch_dtype(spec.dtype),
            device="meta",
        )
        for spec in source.graph.inputs
    ]

    def note(node: Node, args: Sequence[Any], result: Any) -> None:
        found.append(result)

    with torch.no_grad():
        inputs = list(found)
        Interpreter(source.graph, _function).run(inputs, lambda name: source.tensor(name).to("meta"), note)
    return dict(enumerate(found))


def _function(name: str) -> Callable[..., Any]:
    return torch.empty_like if name == SIGNS else resolve(name)
