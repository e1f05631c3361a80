"""Describe how a layer of a model, or a node of a graph, moves over its input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from torch import nn

from proxconnect.graph import Node
from proxconnect.graph.graph import leaves
from proxconnect.layers import BinaryInput, is_transposed_linear

ADDMM = "aten.addmm.default"
CONVOLUTIONS_2D = ("aten.conv2d.default", "aten.conv2d.padding")
_OPERATIONS: dict[type[nn.Module], str] = {nn.Linear: "linear", nn.Conv1d: "conv1d", nn.Conv2d: "conv2d"}
_CONVOLUTIONS = {
    f"aten.{name}.{kind}": name for name in ("conv1d", "conv2d") for kind in ("default", "padding")
}


@dataclass(frozen=True)
class LayerGeometry:
    """The description that the choice of a kernel, and the kernel itself, need.

    Attributes:
        operation: ``"linear"``, ``"conv1d"`` or ``"conv2d"``.
        binary_input: the input is -1 and +1.
        stride: (y, x); a ``"conv1d"`` is a convolution of height 1.
        padding: (y, x).
        dilation: (y, x).
        groups: groups of channels.
        transposed: a linear layer's weight has its inputs along dimension 0.
    """

    operation: str
    binary_input: bool = False
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    transposed: bool = False


def geometry_of_layer(layer: nn.Module, plain: type[nn.Module]) -> LayerGeometry | None:
    """Describe a layer of the class ``plain``; None where no kernel knows it."""
    binary_input = issubclass(plain, BinaryInput)
    if plain.__name__ == "Conv1D" and is_transposed_linear(layer):
        return LayerGeometry("linear", transposed=True)
    known = [kind for kind in _OPERATIONS if plain is kind or (binary_input and issubclass(plain, kind))]
    if not known:
        return None
    operation = _OPERATIONS[known[0]]
    if operation == "linear":
        return LayerGeometry(operation, binary_input)
    conv = cast(nn.Conv2d, layer)
    before, after = conv._reversed_padding_repeated_twice[::2], conv._reversed_padding_repeated_twice[1::2]
    if conv.padding_mode != "zeros" or before != after:
        return None
    ones = (1,) * (2 - len(conv.stride))
    zeros = (0,) * (2 - len(conv.stride))
    return LayerGeometry(
        operation,
        binary_input,
        stride=cast(tuple[int, int], ones + conv.stride),
        padding=cast(tuple[int, int], (*zeros, *reversed(before))),
        dilation=cast(tuple[int, int], ones + conv.dilation),
        groups=conv.groups,
    )


def geometry_of_node(node: Node, shape: Sequence[int], binary_input: bool) -> LayerGeometry | None:
    """Describe ``node``, whose weight has this shape: its second argument, of ``addmm`` the third.

    Returns:
        None where no kernel knows the operation.
    """
    if node.op == ADDMM:
        return LayerGeometry("linear", transposed=True) if len(shape) == 2 and len(node.args) == 3 else None
    if node.op == "aten.linear.default":
        return LayerGeometry("linear", binary_input) if len(shape) == 2 else None
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
    return LayerGeometry(
        _CONVOLUTIONS[node.op],
        binary_input,
        stride=_pair(stride, 1, shape),
        padding=padding if isinstance(padding, tuple) and len(padding) == 2 else _pair(padding, 0, shape),
        dilation=dilation,
        groups=groups,
    )


def _pair(sizes: Any, missing: int, shape: Sequence[int]) -> tuple[int, int]:
    """Return sizes for height and width; a convolution of one dimension has height 1."""
    values = tuple(sizes) if isinstance(sizes, tuple | list) else (sizes,)
    values = values * (len(shape) - 2) if len(values) == 1 else values
    height, width = (missing, *values)[-2:]
    return height, width
