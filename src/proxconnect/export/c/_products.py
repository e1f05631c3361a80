"""Linear layers, convolutions and attention."""

from __future__ import annotations

import math

from torch import Tensor

from proxconnect.errors import ExportError
from proxconnect.export._source import LevelWeight
from proxconnect.export.c._constants import number
from proxconnect.export.c._program import Array, Emitter, Program, arguments
from proxconnect.export.c._windows import window
from proxconnect.graph import Node, TensorName


def _linear(program: Program, node: Node, result: Tensor) -> Array:
    given = arguments(node)
    x, name, weight = program.argument(given["input"]), *_weight(program, given["weight"])
    outputs, inputs = result.shape[-1], x.shape[-1]
    rows = x.size // inputs
    if _counts(x, weight, given["bias"]):
        words = _words(program, x, rows, inputs, 1, inputs)
        program.functions.add("linear_signs")
        kernel = program.constants.words(name, weight.codes)  # type: ignore[union-attr]
        line = f"linear_signs(x0, {kernel}, y, {rows}, {outputs}, {inputs});"
        return _whole(program.add(f"linear, {name}", line, [words], result.shape))
    program.functions.add("linear")
    arrays, bias = _with_bias(program, given)
    line = f"linear(x0, &{program.constants.weight(name, weight)}, {bias}, y, {rows}, {outputs}, t);"
    return program.add(f"linear, {name}", line, arrays, result.shape, scratch=inputs)


def _convolution(program: Program, node: Node, result: Tensor) -> Array:
    given = arguments(node)
    x, name, weight = program.argument(given["input"]), *_weight(program, given["weight"])
    shape = weight.codes.shape if isinstance(weight, LevelWeight) else weight.shape
    kernel = (1, *shape[2:])[-2:]
    padding = given["padding"]
    if isinstance(padding, str):
        whole = [d * (size - 1) for d, size in zip(given["dilation"], shape[2:], strict=True)]
        if padding == "same" and any(size % 2 for size in whole):
            raise ExportError("padding 'same' with more on one side")
        padding = tuple(size // 2 if padding == "same" else 0 for size in whole)
    moves = given["stride"], padding, given["dilation"], given["groups"]
    geometry = f"const Window g = {window(x.shape, result.shape, kernel, *moves)};"
    if _counts(x, weight, given["bias"]) and given["groups"] == 1:
        pixels = math.prod(x.shape[2:])
        words = _words(program, x, pixels, x.shape[1], pixels, 1)
        program.functions.add("conv2d_signs")
        taps = program.constants.words(name, weight.codes.movedim(1, -1))  # type: ignore[union-attr]
        lines = [geometry, f"conv2d_signs(x0, {taps}, y, &g);"]
        return _whole(program.add(f"convolution, {name}", lines, [words], result.shape))
    program.functions.add("conv2d")
    arrays, bias = _with_bias(program, given)
    lines = [geometry, f"conv2d(x0, &{program.constants.weight(name, weight)}, {bias}, y, &g);"]
    return program.add(f"convolution, {name}", lines, arrays, result.shape)


def _attention(program: Program, node: Node, result: Tensor) -> Array:
    given = arguments(node)
    query, key, value = (program.array(given[name]) for name in ("query", "key", "value"))
    if given["attn_mask"] is not None or given["dropout_p"] or given["enable_gqa"]:
        raise ExportError("a mask or grouped heads")
    (*heads, m, e), (n, f) = query.shape, (key.shape[-2], value.shape[-1])
    scale = number(given["scale"] or 1 / math.sqrt(e))
    program.functions.add("attention")
    sizes = f"{math.prod(heads)}, {m}, {n}, {e}, {f}"
    line = f"attention(x0, x1, x2, y, {sizes}, {scale}, {int(given['is_causal'])}, t);"
    return program.add("attention", line, [query, key, value], result.shape, scratch=n)


def _weight(program: Program, leaf: object) -> tuple[str, LevelWeight | Tensor]:
    weight = program.weight(leaf)
    if weight is None:
        raise ExportError("a weight that is computed")
    assert isinstance(leaf, TensorName)
    return leaf.name, weight


def _counts(x: Array, weight: LevelWeight | Tensor, bias: object) -> bool:
    """Tell whether the sums are those of products of signs."""
    codes = isinstance(weight, LevelWeight) and weight.is_binary() and bool((weight.scale == 1).all())
    return x.signs is not None and codes and bias is None


def _words(program: Program, x: Array, rows: int, count: int, step: int, following: int) -> Array:
    """Pack the signs of ``rows`` rows of ``count`` numbers, once for all layers that read them so."""
    signs = x.signs
    assert signs is not None

    def make() -> Array:
        program.functions.add("pack_signs")
        line = f"pack_signs(x0, y, {rows}, {count}, {step}, {following});"
        return program.add("packed signs", line, [signs], (rows, -(-count // 32)), kind="uint32_t")

    return program.once(("words", signs, rows, step), make)


def _with_bias(program: Program, given: dict[str, object]) -> tuple[list[Array], str]:
    arrays = [program.array(given["input"])]
    if given["bias"] is None:
        return arrays, "0"
    return [*arrays, program.array(given["bias"])], "x1"


def _whole(array: Array) -> Array:
    return Array(array.root, array.shape, whole=True)


PRODUCTS: dict[str, Emitter] = {
    "aten.linear.default": _linear,
    "aten.conv1d.default": _convolution,
    "aten.conv1d.padding": _convolution,
    "aten.conv2d.default": _convolution,
    "aten.conv2d.padding": _convolution,
    "aten.scaled_dot_product_attention.default": _attention,
}
