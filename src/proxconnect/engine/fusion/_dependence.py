"""Find the values of a graph that decisions depend on."""

from __future__ import annotations

from collections.abc import Mapping

from proxconnect.engine._layer_geometry import CONVOLUTIONS_2D
from proxconnect.graph import Node, Shape, TensorName, Value
from proxconnect.graph.graph import DType, leaves

# Operators whose result jumps: two floats that differ by rounding may give two results.
_DECISIONS = {"pack", "sign", "sgn", "signbit", "heaviside", "round", "floor", "ceil", "trunc", "fix", "frac"}
_DECISIONS |= {"remainder", "fmod", "floor_divide", "bucketize", "logical_not", "eq", "ne", "lt", "le", "gt"}
_DECISIONS |= {"ge", "not_equal", "less", "less_equal", "greater", "greater_equal", "isclose", "isin"}
_DECISIONS |= {"logical_and", "logical_or", "logical_xor", "any", "all", "count_nonzero"}
_DECISIONS |= {"threshold", "hardshrink", "copysign", "atan2", "arctan2", "angle"}
# Operators that give an element the same bits wherever it lies in memory.
_FREE = {"pack", "sign", "round", "remainder", "add", "sub", "mul", "div", "batch_norm", "prelu", "relu"}
_FREE |= {"hardtanh", "clamp", "max_pool2d", "avg_pool2d", "slice", "pad", "cat", "dropout"}
# Operators that take no other memory format than that of the captured graph.
_VIEWS = {"view", "view_as", "view_as_complex"}


class Dependence:
    """The values that the decisions of a graph depend on, found from the decisions backwards.

    Args:
        nodes: the nodes by number, binary products recognised.
        shapes: of the float32 values.
        exact: decisions must be torch's; otherwise no value counts as one that they depend on.

    Attributes:
        exact: numbers of the values on which a decision depends: they must be torch's, bit for bit.
        ordered: numbers of those that must lie in the default memory format: an operator that reads them
            takes no other, or its rounding depends on it and a decision on its result.
    """

    def __init__(self, nodes: Mapping[int, Node], shapes: Mapping[int, Shape], exact: bool = True) -> None:
        self.exact: set[int] = set()
        self.ordered: set[int] = set()
        for index, node in sorted(nodes.items(), reverse=True):
            kind = node.op.removeprefix("aten.").removeprefix("proxconnect.").split(".")[0]
            read = {leaf.index for leaf in leaves((node.args, node.kwargs)) if isinstance(leaf, Value)}
            if exact and (kind in _DECISIONS or _rounds_to_whole(node) or index in self.exact):
                self.exact |= read
            if kind in ("sums", "product") or is_float_convolution(node, shapes.get(index)):
                continue  # they read any memory format
            rounds = index in self.exact and (kind not in _FREE or _takes_statistics(node))
            if rounds or kind in _VIEWS or index in self.ordered:
                self.ordered |= read


def is_float_convolution(node: Node, shape: Shape | None) -> bool:
    """Tell whether the node, of this shape, is a 2d convolution of a batch with tensors of the network."""
    match node.args:
        case (Value(), TensorName(), *rest) if node.op in CONVOLUTIONS_2D and not node.kwargs:
            bias = rest[0] if rest else None
            return shape is not None and len(shape) == 4 and isinstance(bias, TensorName | None)
    return False


def _rounds_to_whole(node: Node) -> bool:
    """Tell whether the node divides with rounding, or makes whole numbers or truth values of its input."""
    if node.kwargs.get("rounding_mode") is not None:
        return True
    dtypes = [leaf.name for leaf in leaves((node.args, node.kwargs)) if isinstance(leaf, DType)]
    return node.op.startswith("aten.to.") and not all("float" in name for name in dtypes)


def _takes_statistics(node: Node) -> bool:
    """Tell whether the node is a BatchNorm without running statistics: it sums over its input."""
    return node.op == "aten.batch_norm.default" and node.args[3:4] in ((), (None,))
