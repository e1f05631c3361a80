"""A float32 twin of a packed network: the same architecture without its binary arithmetic."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from proxconnect.engine import Network
from proxconnect.graph import Graph, Interpreter, Node, TensorName, Value
from proxconnect.graph.draft import Draft

_PRODUCTS = ("linear", "conv1d", "conv2d", "conv3d")
# What stands between the sums of a layer and its scale: an accumulator of few bits.
_ACCUMULATORS = ("round", "remainder", "clamp", "sub", "add")


class FloatTwin(nn.Module):
    """A module of float32 weights with the graph of a packed network, for other engines to run.

    Signs of inputs, rounding of sums and the scales behind them are left out: the weights have their scales
    already. What is left are the layers and operators of the network before it was binarized.

    Args:
        network: of a packed file.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self._interpreter = Interpreter(float_graph(network.graph, frozenset(network.header.binary)))
        self._places: dict[str, str] = {}
        for name in (*network.header.binary, *network.header.dense):
            self._places[name] = f"t{len(self._places)}"
            self.register_buffer(self._places[name], network._lookup(name).detach())
        self.eval()

    def forward(self, *inputs: Tensor) -> Any:
        """Compute the output of the float network."""
        return self._interpreter.run(inputs, lambda name: getattr(self, self._places[name]))


def float_graph(graph: Graph, binary: frozenset[str]) -> Graph:
    """Rewrite the graph of a network with binary inputs to that of the same network with float inputs."""
    draft = Draft(graph)
    for index in sorted(draft.nodes):
        node = draft.nodes.get(index)
        source = None if node is None or node.kwargs else _replacement(draft, node, binary)
        if source is not None:
            draft.redirect(index, source)
    return draft.graph()


def _replacement(draft: Draft, node: Node, binary: frozenset[str]) -> Value | TensorName | None:
    """Return what a node of binary arithmetic is without it; None for every other node."""
    match node:
        case Node("aten.sign.default", (TensorName(name) as weight,)) if name in binary:
            return weight
        case Node("aten.sign.default", (Value() as shifted,)):
            match draft.plain(shifted, "aten.add.Tensor"):
                case Node(_, (Value() as inner, 0.5)):
                    signs = draft.plain(inner, "aten.sign.default")
                    return signs.args[0] if signs is not None else None
        case Node("aten.mul.Tensor", (Value() as sums, Value() as scale)) if _is_scale(draft, scale, binary):
            return _product_behind(draft, sums, binary)
    return None


def _is_scale(draft: Draft, value: Value, binary: frozenset[str]) -> bool:
    """Tell whether ``value`` is ``reshape(amax(abs(weight)))`` of a binary weight."""
    for op in ("aten.reshape.default", "aten.amax.default", "aten.abs.default"):
        node = draft.plain(value, op)
        if node is None:
            return False
        value = node.args[0]
    return isinstance(value, TensorName) and value.name in binary


def _product_behind(draft: Draft, value: Value, binary: frozenset[str]) -> Value | None:
    """Go back from the sums that a scale multiplies, over an accumulator, to the product."""
    while (node := draft.plain(value)) is not None:
        kind = node.op.split(".")[1]
        if kind in _PRODUCTS:
            weight = node.args[1]
            return value if isinstance(weight, TensorName) and weight.name in binary else None
        if kind not in _ACCUMULATORS:
            return None
        value = node.args[0]
    return None
