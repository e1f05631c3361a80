"""The search for layers with binary input in a network's graph."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from proxconnect.graph import Graph, Node, TensorName, Value

_CODES = (
    "aten.sign.default"  # makes the codes of a binary weight, by which a layer with binary input multiplies
)


@dataclass
class BinaryUse:
    """The use of a weight by a layer with binary input: the kind of layer and its accumulators."""

    kind: str
    accumulator_bits: int = 32


def binary_uses(graph: Graph, weights: Container[str]) -> tuple[dict[Value, str], dict[str, BinaryUse]]:
    """Find the layers with binary input in a network's graph.

    Returns:
        The values that are the codes of a weight, with the weight's name, and the use of each such weight.
    """
    codes: dict[Value, str] = {}
    sums: dict[Value, str] = {}
    uses: dict[str, BinaryUse] = {}
    for index, node in enumerate(graph.nodes, start=len(graph.inputs)):
        match node:
            case Node(op=op, args=(TensorName(name),)) if op == _CODES and name in weights:
                codes[Value(index)] = name
            case Node(op=op, args=(_, Value() as weight, *_)) if weight in codes:
                sums[Value(index)] = codes[weight]
                uses[codes[weight]] = BinaryUse(op.split(".")[1])
            case Node(op="aten.round.default" | "aten.sub.Tensor", args=(Value() as sum, *_)) if sum in sums:
                sums[Value(index)] = sums[sum]
            case Node(op="aten.remainder.Scalar", args=(Value() as sum, int() as span)) if sum in sums:
                uses[sums[sum]].accumulator_bits = span.bit_length() - 1
            case Node(op="aten.clamp.default", args=(Value() as sum, _, int() as high)) if sum in sums:
                uses[sums[sum]].accumulator_bits = high.bit_length() + 1
    return codes, uses
