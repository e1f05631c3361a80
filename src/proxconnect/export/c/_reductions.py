"""Operators that combine many numbers to one: means, norms, softmax, pooling."""

from __future__ import annotations

import torch
from torch import Tensor

from proxconnect.errors import ExportError
from proxconnect.export.c._constants import number
from proxconnect.export.c._loops import contiguous, loops
from proxconnect.export.c._program import Array, Emitter, Program, arguments
from proxconnect.export.c._windows import pair, window
from proxconnect.graph import Node

_COMBINED = {
    "mean": "{y} += {x0};",
    "sum": "{y} += {x0};",
    "amax": "if ({x0} > {y}) {y} = {x0};",
    "amin": "if ({x0} < {y}) {y} = {x0};",
}


def _reduced(program: Program, node: Node, result: Tensor) -> Array:
    given, name = arguments(node), node.op.split(".")[1]
    x = program.array(given["self" if "self" in given else "input"])
    if given.get("dtype") is not None:
        raise ExportError("a dtype")
    over = given.get("dim") or tuple(range(len(x.shape)))
    over = (over,) if isinstance(over, int) else over
    dimensions = {dimension % len(x.shape) for dimension in over}
    kept = tuple(1 if i in dimensions else size for i, size in enumerate(x.shape))
    written = torch.empty(kept, dtype=torch.float32, device="meta").expand(x.shape).stride()
    count, total = result.numel(), x.size // max(1, result.numel())
    start = {"amax": "-INFINITY", "amin": "INFINITY"}.get(name, "0.0f")
    places = {"y": (written, 0), "x0": (contiguous(x.shape), 0)}
    lines = [
        f"for (int i = 0; i < {count}; ++i) y[i] = {start};",
        *loops(x.shape, places, _COMBINED[name]),
    ]
    if name == "mean":
        lines.append(f"for (int i = 0; i < {count}; ++i) y[i] /= {number(total)};")
    return program.add(name, lines, [x], result.shape)


def _adaptive(program: Program, node: Node, result: Tensor) -> Array:
    if any(size != 1 for size in result.shape[2:]):
        raise ExportError(f"an output of {list(result.shape[2:])}")
    spatial = tuple(range(2, result.ndim))
    return _reduced(program, Node("aten.mean.dim", (node.args[0], spatial, True)), result)


def _layer_norm(program: Program, node: Node, result: Tensor) -> Array:
    given = arguments(node)
    x, shape = program.array(given["input"]), given["normalized_shape"]
    arrays, names = [x], []
    for leaf in (given["weight"], given["bias"]):
        names.append("0" if leaf is None else f"x{len(arrays)}")
        arrays += [] if leaf is None else [program.array(leaf)]
    n = torch.Size(shape).numel()
    program.functions.add("layer_norm")
    line = f"layer_norm(x0, {names[0]}, {names[1]}, y, {x.size // n}, {n}, {number(given['eps'])});"
    return program.add("layer_norm", line, arrays, result.shape)


def _softmax(program: Program, node: Node, result: Tensor) -> Array:
    x = program.array(node.args[0])
    dimension = node.args[1] % len(x.shape)
    n, step = x.shape[dimension], contiguous(x.shape)[dimension]
    program.functions.add("softmax")
    logarithm = int("log" in node.op)
    return program.add(
        "softmax", f"softmax(x0, y, {x.size // n}, {n}, {step}, {logarithm});", [x], result.shape
    )


def _pool(program: Program, node: Node, result: Tensor) -> Array:
    given, mean = arguments(node), "avg" in node.op
    x = program.array(given["self"])
    if given["ceil_mode"] or given.get("divisor_override") is not None:
        raise ExportError("ceil_mode or divisor_override")
    moves = given["stride"] or given["kernel_size"], given["padding"], given.get("dilation", 1)
    geometry = window(x.shape, result.shape, pair(given["kernel_size"]), *moves, 1)
    counted = int(mean and given["count_include_pad"])
    program.functions.add("pool2d")
    lines = [f"const Window g = {geometry};", f"pool2d(x0, y, &g, {int(mean)}, {counted});"]
    return program.add("pool2d", lines, [x], result.shape)


REDUCTIONS: dict[str, Emitter] = {
    **{
        f"aten.{name}": _reduced
        for name in ("mean.dim", "mean.default", "sum.dim_IntList", "amax.default", "amin.default")
    },
    "aten.adaptive_avg_pool2d.default": _adaptive,
    "aten.adaptive_avg_pool1d.default": _adaptive,
    "aten.layer_norm.default": _layer_norm,
    "aten.softmax.int": _softmax,
    "aten.log_softmax.int": _softmax,
    "aten.max_pool2d.default": _pool,
    "aten.avg_pool2d.default": _pool,
}
