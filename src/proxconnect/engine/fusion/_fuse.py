"""Applies the rules to a graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from proxconnect.engine.fusion._rewriting import Rewriting
from proxconnect.engine.fusion._rules import FOLDING, RECOGNITION
from proxconnect.engine.weight import PackedWeight
from proxconnect.format import torch_dtype
from proxconnect.graph import Graph, Interpreter, Node
from proxconnect.graph.draft import Draft


def fuse(
    graph: Graph,
    weights: Mapping[str, PackedWeight],
    tensor: Callable[[str], Tensor],
    activations: str | None = None,
) -> tuple[Graph, dict[str, str]]:
    """A graph of the same network on kernels, and the kernel of each weight that has one.

    Args:
        graph: of operators of the closed list.
        weights: the binary weights by name.
        tensor: the other tensors by name.
        activations: None, ``"int8"`` or ``"int6"``, see :func:`proxconnect.load`.
    """
    draft = Draft(graph)
    rewriting = Rewriting(draft, weights, tensor, activations, _shapes(graph, weights, tensor))
    for rule in (*RECOGNITION, *FOLDING):
        for index in sorted(draft.nodes):
            node = draft.nodes.get(index)
            if node is not None and not node.kwargs:
                rule(rewriting, index, node)
    return draft.graph(), rewriting.kernels


def _shapes(
    graph: Graph, weights: Mapping[str, PackedWeight], tensor: Callable[[str], Tensor]
) -> dict[int, tuple[int, ...]]:
    """The shapes of the nodes' float32 results for a batch of 2, up to a node that cannot run without data.

    Nothing where other sizes than the batch vary.
    """
    if any(isinstance(size, str) for spec in graph.inputs for size in spec.shape[1:]):
        return {}
    inputs = [
        torch.empty((2, *map(int, spec.shape[1:])), dtype=torch_dtype(spec.dtype), device="meta")
        for spec in graph.inputs
    ]
    shapes: dict[int, tuple[int, ...]] = {}
    count = iter(range(len(inputs), len(inputs) + len(graph.nodes)))

    def note(node: Node, args: Sequence[Any], result: Any) -> None:
        index = next(count)
        if isinstance(result, Tensor) and result.dtype == torch.float32:
            shapes[index] = tuple(result.shape)

    def lookup(name: str) -> Tensor:
        if name in weights:
            return torch.empty(weights[name].form.shape, device="meta")
        return tensor(name).to("meta")

    with torch.no_grad(), suppress(RuntimeError):
        Interpreter(graph).run(inputs, lookup, note)
    return shapes
