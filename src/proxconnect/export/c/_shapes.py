"""Operators that move numbers without computing: views, copies of views, joining and padding."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from proxconnect.errors import ExportError
from proxconnect.export.c._constants import number
from proxconnect.export.c._loops import contiguous, loops
from proxconnect.export.c._program import Array, Emitter, Program, arguments
from proxconnect.graph import Node, TensorName, Value
from proxconnect.graph.graph import leaves, map_leaves
from proxconnect.graph.operators import resolve
from proxconnect.graph.validate import concrete

_SAME = (
    *(f"{name}.default" for name in ("dropout", "feature_dropout", "clone", "contiguous", "detach", "alias")),
    "to.dtype",
)


def views(program: Program, node: Node) -> Any:
    """Return the arrays of an operator whose results show the memory of its first argument; else None.

    PyTorch says where each element lies: the operator runs on a tensor without memory.
    """
    first = node.args[0] if node.args else None
    if not isinstance(first, Value | TensorName) or not _shows_memory(node):
        return None
    x = program.argument(first)
    if not isinstance(x, Array):
        return None
    whole = torch.empty(x.shape, dtype=torch.float32, device="meta")

    def value(leaf: Any) -> Any:
        if leaf == first:
            return whole
        return program.results[leaf.index] if isinstance(leaf, Value) else concrete(leaf)

    results = resolve(node.op)(*map_leaves(value, node.args), **map_leaves(value, dict(node.kwargs)))
    if not all(_of(result, whole) for result in leaves(results)):
        return None
    return map_leaves(lambda result: _shown(program, node, x, result), results)


def _shows_memory(node: Node) -> bool:
    function = resolve(node.op)
    schema = getattr(function, "_schema", None)
    return schema is not None and all(
        result.alias_info is not None or str(result.type) == "List[Tensor]" for result in schema.returns
    )


def _of(result: Any, whole: Tensor) -> bool:
    return isinstance(result, Tensor) and result.untyped_storage()._cdata == whole.untyped_storage()._cdata


def _shown(program: Program, node: Node, x: Array, view: Tensor) -> Array:
    shape, first = tuple(view.shape), int(view.storage_offset())
    if view.is_contiguous():
        if x.signs is not None:
            return Array(x.root, shape, first, _moved(x.signs, shape, first), x.whole)
        return Array(x.root, shape, x.first + first, None, x.whole)
    x = program.array(node.args[0])
    places = {"y": (contiguous(shape), 0), "x0": (view.stride(), first)}
    return program.add(node.op.split(".")[1], loops(shape, places, "{y} = {x0};"), [x], shape)


def _moved(x: Array, shape: tuple[int, ...], first: int) -> Array:
    return Array(x.root, shape, x.first + first)


def _same(program: Program, node: Node, result: Tensor) -> Array:
    array: Array = program.argument(node.args[0])
    return array


def _cat(program: Program, node: Node, result: Tensor) -> Array:
    arrays = [program.array(leaf) for leaf in node.args[0]]
    dimension = arguments(node)["dim"] % result.ndim
    lines: list[str] = []
    start = 0
    for i, array in enumerate(arrays):
        size = array.shape[dimension]
        part = torch.empty(result.shape, dtype=torch.float32, device="meta").narrow(dimension, start, size)
        places = {"y": (part.stride(), int(part.storage_offset())), f"x{i}": (contiguous(array.shape), 0)}
        lines += loops(array.shape, places, f"{{y}} = {{x{i}}};")
        start += size
    return program.add("cat", lines, arrays, result.shape)


def _pad(program: Program, node: Node, result: Tensor) -> Array:
    given = arguments(node)
    pads, mode, value = given["pad"], given.get("mode", "constant"), given["value"]
    x = program.array(given["self"])
    inner = torch.empty(result.shape, dtype=torch.float32, device="meta")
    if mode != "constant" or any(pad < 0 for pad in pads):
        raise ExportError(f"padding {mode!r}")
    for i in range(len(pads) // 2):
        dimension = result.ndim - 1 - i
        inner = inner.narrow(dimension, pads[2 * i], x.shape[dimension])
    places = {"y": (inner.stride(), int(inner.storage_offset())), "x0": (contiguous(x.shape), 0)}
    fill = f"for (int i = 0; i < {result.numel()}; ++i) y[i] = {number(float(value or 0))};"
    return program.add("pad", [fill, *loops(x.shape, places, "{y} = {x0};")], [x], result.shape)


MOVES: dict[str, Emitter] = {
    **{f"aten.{name}": _same for name in _SAME},
    "aten.cat.default": _cat,
    "aten.pad.default": _pad,
    "aten.constant_pad_nd.default": _pad,
}
