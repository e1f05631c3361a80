"""Files with graphs drawn at random: what exporters write, and what only other writers would."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from proxconnect.format import (
    BinaryTensor,
    DenseTensor,
    GraphInfo,
    Header,
    InputSpec,
    PackedFile,
    compressed_graph,
    unpack_weight,
)
from proxconnect.graph import Graph, Node, TensorName, Value, to_json
from proxconnect.graph.graph import DType, map_leaves
from proxconnect.graph.operators import resolve
from proxconnect.graph.validate import concrete

BATCH = 3
INPUTS = ((16,), (8, 7), (40, 9), (8, 5, 6), (16, 4, 4), (16, 4, 4), (130,))
NUMBERS = (0.5, 1.0, -1.0, -2.5, 3, 0.0, -0.0)
MAPS = ("relu6", "hardtanh", "gelu", "abs", "neg", "sigmoid", "hardswish", "clone", "tanh")
JUMPS = ("round", "floor", "ceil", "trunc", "sign", "frac", "hardshrink")
OF_TWO = ("add.Tensor", "sub.Tensor", "mul.Tensor", "maximum", "minimum", "max.other")
WHOLE = ("floor_divide", "remainder.Scalar", "add.Scalar", "mul.Scalar", "bitwise_and.Scalar")


class Drawing:
    """A graph in the making, with what each value is for an example of three samples.

    Args:
        choose: one of the elements of a sequence.
    """

    def __init__(self, choose: Callable[[Any], Any]) -> None:
        self._choose = choose
        torch.manual_seed(choose(range(100)))
        self.specs: list[InputSpec] = []
        self.values: list[Any] = []
        self.nodes: list[Node] = []
        self.binary: dict[str, BinaryTensor] = {}
        self.dense: dict[str, DenseTensor] = {}
        self.tensors: dict[str, Tensor] = {}

    def one_of(self, *choices: Any) -> Any:
        return self._choose(choices)

    def rarely(self) -> bool:
        return bool(self._choose(range(10)) == 9)

    def input(self, *shape: int) -> None:
        self.specs.append(InputSpec(f"x{len(self.specs)}", "float32", ("batch", *shape)))
        self.values.append(torch.randn(BATCH, *shape))

    def tensor(self, values: Tensor, *roles: str) -> TensorName:
        """Put a dense tensor into the file."""
        name = f"t{len(self.dense)}"
        role = self.one_of(*(roles or ("parameter", "buffer", "constant")))
        self.dense[name] = DenseTensor(tuple(values.shape), "float32", role)
        self.tensors[name] = values
        return TensorName(name)

    def numbers(self, *shape: int) -> TensorName:
        return self.tensor(torch.randn(shape))

    def weight(self, *shape: int, transposed: int | None = None) -> TensorName:
        """Put a weight into the file; rarely ternary, with scales of groups, or with a scale of zero."""
        name, bits, group = f"w{len(self.binary)}", 1 + self.rarely(), 4 if self.rarely() else None
        form = self.binary[name] = BinaryTensor(shape, bits, group, transposed)
        signs = torch.randint(256, form.bits_shape, dtype=torch.uint8)
        signs[..., -1] &= (1 << (math.prod(form.rows.row_shape[1:]) - 1) % 8 + 1) - 1
        if bits == 2:
            signs[1] &= signs[0]
        scale = torch.rand(self.one_of(*form.rows.scale_shapes)) + 0.05
        scale.view(-1)[0] *= not self.rarely()
        self.tensors |= {f"{name}.bits": signs, f"{name}.scale": scale.to(torch.float16)}
        return TensorName(name)

    def lookup(self, leaf: Any) -> Any:
        if isinstance(leaf, Value):
            return self.values[leaf.index]
        if not isinstance(leaf, TensorName):
            return concrete(leaf)
        if leaf.name in self.binary:
            bits, scale = (self.tensors[f"{leaf.name}.{part}"] for part in ("bits", "scale"))
            return unpack_weight(bits, scale, self.binary[leaf.name])
        return self.tensors[leaf.name]

    def add(self, op: str, *args: Any) -> Value:
        """One more node."""
        name = f"aten.{op}" if "." in op else f"aten.{op}.default"
        self.values.append(resolve(name)(*map_leaves(self.lookup, args)))
        self.nodes.append(Node(name, args))
        return Value(len(self.values) - 1)

    def floats(self, *ranks: int) -> Value:
        """Choose the latest of the values that are floats, or any of them."""
        found = [
            Value(i)
            for i, value in enumerate(self.values)
            if value.dtype == torch.float32
            and value.ndim in (ranks or range(1, 7))
            and len(value) == BATCH
            and 0 < value.numel() < 5000
        ]
        return self.one_of(found[-1], found[-1], found[-1], self.one_of(*found))

    def shape(self, value: Value) -> tuple[int, ...]:
        return tuple(self.values[value.index].shape)

    def file(self, *others: Value) -> PackedFile:
        """Write the file, whose output is the last value, with others: these, or at times drawn ones."""
        last = Value(len(self.values) - 1)
        if not others:
            drawn = range(self.one_of(0, 0, 1, 2))
            others = tuple(Value(self._choose(range(len(self.values)))) for _ in drawn)
        graph = Graph(tuple(self.specs), tuple(self.nodes), (last, *others) if others else last)
        raw = to_json(graph)
        info = GraphInfo(len(raw), graph.inputs)
        header = Header("1", "bc", "bw", binary=self.binary, dense=self.dense, graph=info)
        return PackedFile(header, {**self.tensors, "graph": compressed_graph(raw)})


def product(drawing: Drawing) -> Value:
    """Multiply floats by a weight."""
    x = drawing.floats(2, 3, 4)
    shape, outputs = drawing.shape(x), drawing.one_of(1, 4, 8, 17)
    if len(shape) > 2 and drawing.one_of(True, True, False):
        return convolution(drawing, x)[0]
    bias = drawing.one_of(None, drawing.numbers(outputs), drawing.numbers(1))
    kind = drawing.one_of("linear", "linear", "addmm", "matmul")
    if kind == "linear" or len(shape) > 2:
        return drawing.add("linear", x, drawing.weight(outputs, shape[-1]), *([bias] if bias else []))
    if kind == "addmm":
        weight = drawing.weight(shape[1], outputs, transposed=1)
        return drawing.add("addmm", bias or drawing.numbers(outputs), x, weight)
    return drawing.add("matmul", x, drawing.add("t", drawing.weight(outputs, shape[-1])))


def convolution(drawing: Drawing, x: Value, signs: bool = False) -> tuple[Value, TensorName]:
    """Add a convolution, with the signs of its weight on request; return its weight too."""
    (_, channels, *sizes), one_of = drawing.shape(x), drawing.one_of
    groups = one_of(*(groups for groups in (1, 1, 2, channels) if channels % groups == 0))
    outputs = groups * one_of(1, 2, 9)
    kernel = [min(one_of(1, 2, 3, 3), size) for size in sizes]
    stride, padding, dilation = (tuple(one_of(*m) for _ in sizes) for m in ((1, 2), (0, 1), (1, 1, 2)))
    bias = None if signs else one_of(None, drawing.numbers(outputs))
    if not signs and drawing.rarely():
        weight = drawing.weight(channels, outputs // groups, *kernel, transposed=groups)
        op = "conv_transpose1d" if len(sizes) == 1 else "conv_transpose2d.input"
        return drawing.add(op, x, weight, bias, stride, padding, (0,) * len(sizes), groups, dilation), weight
    op, weight = f"conv{len(sizes)}d", drawing.weight(outputs, channels // groups, *kernel)
    if one_of(True, False, False):
        op, padding, stride = f"{op}.padding", one_of("same", "valid"), (1,) * len(sizes)
    used = drawing.add("sign", weight) if signs else weight
    return drawing.add(op, x, used, bias, stride, padding, dilation, groups), weight


def sign(drawing: Drawing, x: Value) -> Value:
    """Take the sign of x, of zero +1, as layers with binary input write it."""
    shifted = drawing.add("add.Tensor", drawing.add("sign", x), 0.25 if drawing.rarely() else 0.5)
    return drawing.add("sign", shifted)


def binary_product(drawing: Drawing) -> Value:
    """Add a layer with binary input, rarely without one of its steps."""
    x = drawing.floats(2, 3, 4)
    shape, one_of = drawing.shape(x), drawing.one_of
    signs = sign(drawing, x)
    if len(shape) > 2 and one_of(True, True, False):
        y, weight = convolution(drawing, signs, signs=True)
    else:
        weight = drawing.weight(one_of(1, 4, 8, 17), shape[-1])
        y = drawing.add("linear", signs, drawing.add("sign", weight))
    y = y if drawing.rarely() else drawing.add("round", y)
    accumulator = one_of("", "", "wrap", "saturate")
    if accumulator == "wrap":
        half = one_of(128, 128, 8)
        y = drawing.add("remainder.Scalar", drawing.add("sub.Tensor", y, -half), 2 * half)
        y = drawing.add("add.Tensor", y, -half)
    if accumulator == "saturate":
        y = drawing.add("clamp", y, -5, 4)
    form = drawing.binary[weight.name].shape
    spread = (-1,) + (1,) * (len(form) - 2)
    if not drawing.rarely():
        dimensions = tuple(range(1, len(form)))
        size = drawing.add("amax", drawing.add("abs", weight), dimensions, one_of(True, False))
        y = drawing.add("mul.Tensor", y, drawing.add("reshape", size, spread))
    if one_of(True, False):
        y = drawing.add("add.Tensor", y, drawing.add("reshape", drawing.numbers(form[0]), spread))
    return y


def norm(drawing: Drawing) -> Value:
    """Add a norm whose weights may be zero or negative, and whose means may be infinite."""
    x = drawing.floats(2, 3, 4)
    shape, values = drawing.shape(x), drawing.values[x.index]
    # Where inputs hardly differ, the norm of the layer would make much of what is rounding.
    if drawing.one_of(True, False) and values.var(-1, correction=0).min() > 0.01 * values.abs().max() ** 2:
        return drawing.add("layer_norm", x, shape[-1:], drawing.one_of(None, drawing.numbers(shape[-1])))
    gain, mean = torch.randn(shape[1]), torch.randn(shape[1])
    gain[0] = drawing.one_of(1.0, 0.0, -0.0, -1.0)
    mean[-1] = drawing.one_of(torch.inf, -torch.inf) if drawing.rarely() else 0.5
    weights = [drawing.one_of(None, values) for values in (drawing.tensor(gain), drawing.numbers(shape[1]))]
    variance = drawing.tensor(torch.rand(shape[1]) + 0.5)
    return drawing.add(
        "batch_norm", x, *weights, drawing.tensor(mean, "buffer"), variance, False, 0.1, 1e-5, False
    )


def prelu(drawing: Drawing) -> Value:
    x = drawing.floats(2, 3, 4)
    slope = torch.randn(drawing.one_of(1, drawing.shape(x)[1]))
    slope[-1] = drawing.one_of(*NUMBERS)
    return drawing.add("prelu", x, drawing.tensor(slope))


def with_constant(drawing: Drawing) -> Value:
    """Arithmetic with a number, or with a tensor that spreads over the value or spreads it."""
    x, one_of = drawing.floats(), drawing.one_of
    shape, op = drawing.shape(x), one_of("add", "sub", "mul", "div")
    if one_of(True, False):
        return drawing.add(f"{op}.Tensor", x, one_of(*NUMBERS[: 5 if op == "div" else None]))
    channels = (*shape[1:2], *[1] * (len(shape) - 2))
    shapes = (), (1,), shape[-1:], channels, (1, *channels), shape[1:], (1, 1, *shape[1:])
    constant = drawing.tensor((torch.rand(one_of(*shapes)) + 0.5) * one_of(1, 1, -1))
    return drawing.add(
        f"{op}.Tensor", *((constant, x) if op != "div" and drawing.rarely() else (x, constant))
    )


def with_other(drawing: Drawing) -> Value:
    """Arithmetic with another value, or with the same."""
    x = drawing.floats()
    y = drawing.floats(len(drawing.shape(x)))
    op = drawing.one_of(*OF_TWO, "cat", "matmul", "einsum", "where")
    if op == "cat":
        return drawing.add("cat", (x, y), 1)
    if op == "matmul":
        return drawing.add("matmul", drawing.add("unsqueeze", x, 1), drawing.add("unsqueeze", y, -1))
    if op == "einsum":
        return drawing.add("einsum", "b...i,b...i->b...", (x, y))
    if op == "where":
        return drawing.add("where.self", drawing.add("gt.Scalar", x, 0.25), x, y)
    return drawing.add(op, x, y)


def elsewhere(drawing: Drawing) -> Value:
    """Move the numbers of a value to other places, or pool them."""
    x, one_of = drawing.floats(), drawing.one_of
    shape = drawing.shape(x)
    merged = (-1, *shape[1:-2], math.prod(shape[1:][-2:]))
    pools = {3: ("max_pool1d", "avg_pool1d"), 4: ("max_pool2d", "avg_pool2d")}.get(len(shape), ())
    return drawing.add(
        *one_of(
            ("transpose.int", x, -1, 1),
            ("permute", x, (0, *range(len(shape) - 1, 0, -1))),
            ("flatten.using_ints", x, 1),
            ("unsqueeze", x, one_of(1, -1)),
            ("slice.Tensor", x, -1, one_of(0, 1), 2**63 - 1, one_of(1, 2)),
            ("flip", x, (-1,)),
            (one_of("reshape", "view"), x, merged),
            ("constant_pad_nd", x, (1, 0), one_of(0.0, 1.0)),
            ("mean.dim", x, (-1,), one_of(True, False)),
            *((pool, x, (2,) * (len(shape) - 2)) for pool in pools),
        )
    )


def elementwise(drawing: Drawing) -> Value:
    x, one_of = drawing.floats(), drawing.one_of
    kind = one_of("map", "map", "map", "clamp", "softmax", "narrow")
    if kind == "narrow":
        y = drawing.add("to.dtype", x, DType(one_of("bfloat16", "float64")))
        return drawing.add("to.dtype", drawing.add("mul.Tensor", y, 0.5), DType("float32"))
    if kind == "clamp":
        return drawing.add("clamp", x, one_of(None, -1.5, 0), one_of(0.75, 2))
    return drawing.add("softmax.int", x, -1) if kind == "softmax" else drawing.add(one_of(*MAPS), x)


def jump(drawing: Drawing) -> Value:
    """Round, compare, or go to whole numbers and back."""
    x, kind = drawing.floats(), drawing.one_of("round", "round", "compare", "whole")
    if kind == "round":
        return drawing.add(drawing.one_of(*JUMPS), x)
    if kind == "compare":
        y = drawing.add(drawing.one_of("gt.Scalar", "le.Scalar"), x, drawing.one_of(0.0, 0.5))
    else:
        y = drawing.add("to.dtype", x, DType(drawing.one_of("int64", "int32")))
        y = drawing.add(drawing.one_of(*WHOLE), y, drawing.one_of(2, 3, -3))
    return drawing.add("to.dtype", y, DType("float32"))


def relu(drawing: Drawing) -> Value:
    return drawing.add("relu", drawing.floats())


AFTER = [*[norm] * 5, *[relu] * 3, *[prelu] * 3, *[with_constant] * 3]
STEPS = [*AFTER, *[elementwise] * 2, *[with_other] * 2, *[elsewhere] * 2]
KINDS = [*STEPS, *[product] * 8], [*STEPS, *[binary_product] * 8], [*STEPS, product, binary_product, jump]


def drawn_file(choose: Callable[[Any], Any]) -> tuple[PackedFile, list[Tensor]]:
    """Draw a file, and an example of its inputs."""
    drawing = Drawing(choose)
    shape = drawing.one_of(*INPUTS)
    for _ in range(drawing.one_of(1, 1, 2)):
        drawing.input(*shape)
    steps = drawing.one_of(*KINDS)
    for _ in range(drawing.one_of(*range(2, 10))):
        try:
            drawing.one_of(*steps)(drawing)
        except (RuntimeError, IndexError):
            continue  # the operator does not take such a value
    return drawing.file(), drawing.values[: len(drawing.specs)]
