"""Computation of what depends on weights of few levels alone, so that codes and scales stay apart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from proxconnect.base.rows import Rows
from proxconnect.export._source import LevelWeight, Source
from proxconnect.graph import Graph, Node, TensorName, Value
from proxconnect.graph.draft import Draft
from proxconnect.graph.graph import leaves, map_leaves
from proxconnect.graph.operators import resolve
from proxconnect.graph.validate import concrete

SIGNS = "signs"


def folded(source: Source) -> Source:
    """Compute the codes and the scales of layers with binary input, and keep only tensors that are used.

    Such a layer multiplies with ``sign(w)`` and scales its sums by ``amax(abs(w))``. The first becomes a
    weight of its own, ``<name>_codes``, the second a tensor, ``<name>_magnitude``.
    """
    draft = Draft(source.graph)
    origins = _origins(draft, source)
    weights, tensors = dict(source.weights), dict(source.tensors)
    for index in sorted(origins):
        match draft.nodes.get(index):
            case Node("aten.sign.default", (TensorName(name),)) if name in source.weights:
                weights[f"{name}_codes"] = _signs(source.weights[name])
                draft.redirect(index, TensorName(f"{name}_codes"))
            case Node("aten.amax.default") as node:
                name = f"{origins[index]}_magnitude"
                tensors[name] = _computed(draft, node, source)
                draft.redirect(index, TensorName(name))
    graph = replace(draft.graph(), variants=())
    arguments = leaves(([(node.args, node.kwargs) for node in graph.nodes], graph.output))
    used = {leaf.name for leaf in arguments if isinstance(leaf, TensorName)}
    return replace(
        source,
        graph=graph,
        weights={name: weight for name, weight in weights.items() if name in used},
        tensors={name: tensor for name, tensor in tensors.items() if name in used},
    )


def _signs(weight: LevelWeight) -> LevelWeight:
    signs = weight.rows.turned(weight.weight().sign()).to(torch.int8)
    ones = signs.new_ones(len(signs), *(1,) * (signs.ndim - 1), dtype=torch.float32)
    return LevelWeight(signs, ones, Rows(weight.rows.shape, transposed=weight.rows.transposed))


def _origins(draft: Draft, source: Source) -> dict[int, str]:
    """Find the nodes that are computed from one weight and nothing else, with the name of the weight."""
    origins: dict[int, str] = {}
    for index, node in sorted(draft.nodes.items()):
        found = {
            leaf.name if isinstance(leaf, TensorName) else origins.get(leaf.index, "")
            for leaf in leaves((node.args, node.kwargs))
            if isinstance(leaf, Value | TensorName)
        }
        if len(found) == 1 and found <= source.weights.keys():
            origins[index] = found.pop()
    return origins


def _computed(draft: Draft, node: Node, source: Source) -> Tensor:
    def value(leaf: Any) -> Any:
        inner = draft.node(leaf)
        if inner is not None:
            return _computed(draft, inner, source)
        return source.tensor(leaf.name) if isinstance(leaf, TensorName) else concrete(leaf)

    result: Tensor = resolve(node.op)(*map_leaves(value, node.args), **map_leaves(value, dict(node.kwargs)))
    return result


def with_signs(graph: Graph) -> Graph:
    """Write ``sign(sign(x) + 0.5)``, which is +1 for 0, as one operator :data:`SIGNS`."""
    draft = Draft(graph)
    for index in sorted(draft.nodes):
        match draft.plain(Value(index), "aten.sign.default"):
            case Node(_, (Value() as shifted,)) if inner := _signed(draft, shifted):
                draft.put(index, Node(SIGNS, (inner,)))
    return draft.graph()


def _signed(draft: Draft, shifted: Value) -> Value | None:
    """Return ``x`` if ``shifted`` is ``sign(x) + 0.5``."""
    match draft.plain(shifted, "aten.add.Tensor"):
        case Node(_, (Value() as sign, 0.5)) if node := draft.plain(sign, "aten.sign.default"):
            inner = node.args[0]
            return inner if isinstance(inner, Value) else None
    return None
