"""How a node of a graph uses its weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from proxconnect.engine._kernel_of import Use
from proxconnect.graph import Node
from proxconnect.graph.graph import leaves

_CONVOLUTIONS = {
    f"aten.{name}.{kind}": name for name in ("conv1d", "conv2d") for kind in ("default", "padding")
}


def use_of(node: Node, shape: Sequence[int], binary_input: bool) -> Use | None:
    """How ``node`` uses its second argument, a weight of this shape; None where no kernel knows it."""
    if node.op == "aten.linear.default":
        return Use("linear", binary_input) if len(shape) == 2 else None
    dimensions = {"conv1d": 3, "conv2d": 4}.get(_CONVOLUTIONS.get(node.op, ""))
    known = all(isinstance(leaf, int | str) for leaf in leaves(node.args[3:]))
    if dimensions is None or len(shape) != dimensions or not known:
        return None
    given = node.args[3:]
    stride, padding, dilation, groups = given + (1, 0, 1, 1)[len(given) :]
    dilation = _pair(dilation, 1, shape)
    if isinstance(padding, str):
        whole = [d * (size - 1) for d, size in zip(dilation, (1, *shape[2:])[-2:], strict=True)]
        if padding == "same" and any(size % 2 for size in whole):
            return None
        padding = tuple(size // 2 for size in whole) if padding == "same" else 0
    return Use(
        _CONVOLUTIONS[node.op],
        binary_input,
        stride=_pair(stride, 1, shape),
        padding=padding if isinstance(padding, tuple) and len(padding) == 2 else _pair(padding, 0, shape),
        dilation=dilation,
        groups=groups,
    )


def _pair(sizes: Any, missing: int, shape: Sequence[int]) -> tuple[int, int]:
    """Sizes for height and width: a convolution of one dimension has height 1."""
    values = tuple(sizes) if isinstance(sizes, tuple | list) else (sizes,)
    values = values * (len(shape) - 2) if len(values) == 1 else values
    height, width = (missing, *values)[-2:]
    return height, width
