"""Elementwise operators as statements of C."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from proxconnect.errors import ExportError
from proxconnect.export.c._constants import number
from proxconnect.export.c._loops import contiguous, loops
from proxconnect.export.c._program import Array, Emitter, Program, arguments
from proxconnect.graph import Node, TensorName

# The value of an operator for {x}; {0} and {1} are its further arguments.
_UNARY = {
    "relu.default": "{x} > 0 ? {x} : 0.0f",
    "relu6.default": "{x} < 0 ? 0.0f : {x} > 6 ? 6.0f : {x}",
    "hardtanh.default": "{x} < {0} ? {0} : {x} > {1} ? {1} : {x}",
    "leaky_relu.default": "{x} > 0 ? {x} : {0} * {x}",
    "elu.default": "{x} > 0 ? {x} : {0} * expm1f({x})",
    "silu.default": "{x} / (1.0f + expf(-{x}))",
    "sigmoid.default": "1.0f / (1.0f + expf(-{x}))",
    "hardsigmoid.default": "{x} < -3 ? 0.0f : {x} > 3 ? 1.0f : {x} / 6.0f + 0.5f",
    "hardswish.default": "{x} < -3 ? 0.0f : {x} > 3 ? {x} : {x} * ({x} + 3.0f) / 6.0f",
    "mish.default": "{x} * tanhf(log1pf(expf({x})))",
    "tanh.default": "tanhf({x})",
    "neg.default": "-{x}",
    "abs.default": "fabsf({x})",
    "sign.default": "(float)(({x} > 0) - ({x} < 0))",
    "exp.default": "expf({x})",
    "log.default": "logf({x})",
    "sqrt.default": "sqrtf({x})",
    "rsqrt.default": "1.0f / sqrtf({x})",
    "reciprocal.default": "1.0f / {x}",
    "square.default": "{x} * {x}",
    "sin.default": "sinf({x})",
    "cos.default": "cosf({x})",
    "erf.default": "erff({x})",
    "floor.default": "floorf({x})",
    "ceil.default": "ceilf({x})",
    "round.default": "rintf({x})",
    "pow.Tensor_Scalar": "powf({x}, {0})",
    "remainder.Scalar": "{x} - {0} * floorf({x} / {0})",
    "clamp_min.default": "{x} < {0} ? {0} : {x}",
    "clamp_max.default": "{x} > {0} ? {0} : {x}",
}
_BINARY = {
    "add": "{x} + {other}",
    "sub": "{x} - {other}",
    "rsub": "{other} - {x}",
    "mul": "{x} * {other}",
    "div": "{x} / {other}",
    "maximum": "{x} > {other} ? {x} : {other}",
    "minimum": "{x} < {other} ? {x} : {other}",
}


def over_elements(
    program: Program, comment: str, value: str, arrays: Sequence[Array], shape: Sequence[int]
) -> Array:
    """Add a step that computes ``value``, in which ``{x0}`` is an element of the first array, and so on."""
    places = {"y": (contiguous(shape), 0)}
    for i, array in enumerate(arrays):
        meta = torch.empty(array.shape, dtype=torch.float32, device="meta")
        places[f"x{i}"] = meta.expand(*shape).stride(), 0
    lines = loops(tuple(shape), places, f"{{y}} = {value};")
    return program.add(comment, lines, arrays, shape, elementwise=True)


def _unary(program: Program, node: Node, result: Tensor) -> Array:
    name = node.op.removeprefix("aten.")
    x = program.array(node.args[0])
    if name == "round.default" and x.whole:
        return x
    value = _UNARY[name]
    _, *further = arguments(node).values()
    for place, argument in enumerate(further):
        value = value.replace(f"{{{place}}}", number(_plain(argument)))
    return over_elements(program, name, value.replace("{x}", "{x0}"), [x], result.shape)


def _clamp(program: Program, node: Node, result: Tensor) -> Array:
    x = program.array(node.args[0])
    given = arguments(node)
    for bound, sign in ((given["min"], "<"), (given["max"], ">")):
        if bound is not None:
            limit = number(_plain(bound))
            x = over_elements(
                program, "clamp", f"{{x0}} {sign} {limit} ? {limit} : {{x0}}", [x], result.shape
            )
    return x


def _gelu(program: Program, node: Node, result: Tensor) -> Array:
    x = program.array(node.args[0])
    exact = "0.5f * {x0} * (1.0f + erff({x0} * 0.707106781f))"
    smooth = "0.5f * {x0} * (1.0f + tanhf(0.797884561f * ({x0} + 0.044715f * {x0} * {x0} * {x0})))"
    value = smooth if arguments(node)["approximate"] == "tanh" else exact
    return over_elements(program, "gelu", value, [x], result.shape)


def _binary(program: Program, node: Node, result: Tensor) -> Array:
    name = node.op.split(".")[1]
    alpha = _plain(arguments(node).get("alpha", 1))
    arrays: list[Array] = []
    elements = []
    for leaf in node.args[:2]:
        given = program.argument(leaf)
        if isinstance(given, int | float) and not isinstance(given, bool):
            elements.append(number(given))
        else:
            elements.append(f"{{x{len(arrays)}}}")
            arrays.append(program.array(leaf))
    x, other = elements
    if alpha != 1:
        x, other = (f"{number(alpha)} * {x}", other) if name == "rsub" else (x, f"{number(alpha)} * {other}")
    value = _BINARY[name].replace("{x}", x).replace("{other}", other)
    return over_elements(program, name, value, arrays, result.shape)


def _prelu(program: Program, node: Node, result: Tensor) -> Array:
    x, slope = program.array(node.args[0]), program.array(node.args[1])
    shape = (slope.size, *(1,) * (len(x.shape) - 2)) if slope.size > 1 else (1,)
    slope = Array(slope.root, shape, slope.first)
    return over_elements(program, "prelu", "{x0} > 0 ? {x0} : {x1} * {x0}", [x, slope], result.shape)


def _batch_norm(program: Program, node: Node, result: Tensor) -> Array:
    weight, bias, mean, variance = (
        program.source.tensor(leaf.name) if isinstance(leaf, TensorName) else None for leaf in node.args[1:5]
    )
    if mean is None or variance is None:
        raise ExportError("statistics of the batch")
    gain = 1 / (variance + arguments(node)["eps"]).sqrt()
    gain = gain if weight is None else gain * weight
    shift = -mean * gain if bias is None else bias - mean * gain
    x, name = program.array(node.args[0]), node.args[3].name
    shape = (len(gain), *(1,) * (len(x.shape) - 2))
    gains = Array(program.constants.array(f"{name}, gain", gain), shape)
    shifts = Array(program.constants.array(f"{name}, shift", shift), shape)
    return over_elements(program, "batch_norm", "{x0} * {x1} + {x2}", [x, gains, shifts], result.shape)


def _plain(value: Any) -> float:
    """Return a further argument that is a number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ExportError(f"the argument {value!r}")
    return value


def _entries(names: Sequence[str], emitter: Callable[[Program, Node, Tensor], Array]) -> dict[str, Emitter]:
    return {f"aten.{name}": emitter for name in names}


ELEMENTWISE: dict[str, Emitter] = {
    **_entries(list(_UNARY), _unary),
    **_entries([f"{name}.{kind}" for name in _BINARY for kind in ("Tensor", "Scalar", "default")], _binary),
    **_entries(["clamp.default"], _clamp),
    **_entries(["gelu.default"], _gelu),
    **_entries(["prelu.default"], _prelu),
    **_entries(["batch_norm.default"], _batch_norm),
}
