"""Shapes are inferred before a graph runs; what torch trusts is checked, and what is too large refused."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from proxconnect.errors import FormatError, ProxConnectError
from proxconnect.format import InputSpec
from proxconnect.graph import DType, Graph, Interpreter, Node, SizeCheck, TensorName, Value
from proxconnect.graph.interpreter import check_inputs

ROW = InputSpec("x", "float32", ("batch", 8))
IMAGE = InputSpec("x", "float32", ("batch", 4, 6, 6))
STEPS = InputSpec("x", "float32", ("batch", 5, 3))
HUGE = 2**40
TENSORS = {
    "conv": torch.ones(4, 4, 3, 3),
    "doubles": torch.ones(4, 4, 3, 3, dtype=torch.float64),
    "w_ih": torch.ones(8, 3),
    "w_hh": torch.ones(8, 2),
    "b": torch.ones(8),
    "state": torch.ones(1, 1, 2),
    "column": torch.ones(4, 1),
    "line": torch.ones(1, 4),
}


def graph(spec: InputSpec, *nodes: Node, output: int | None = None) -> Graph:
    return Graph((spec,), nodes, Value(len(nodes) if output is None else output))


def check(of: Graph, max_bytes: int | None = 2**24) -> SizeCheck:
    return SizeCheck(of, lambda name: TENSORS[name].to("meta"), max_bytes)


def op(name: str, *args: Any, **kwargs: Any) -> Node:
    return Node(f"aten.{name}", args, kwargs)


def conv(*moves: Any) -> Graph:
    return graph(IMAGE, op("conv2d.default", Value(0), TensorName("conv"), None, *moves))


def recurrent(kind: str, hidden: Any, *weights: str) -> Graph:
    """Make a layer of hidden size 2 whose state is one row, of batch 1 or of the whole batch."""
    batch = Node("aten.sym_size.int", (Value(0), 0))
    zeros = op("zeros.default", (1, Value(1), 2) if hidden is None else hidden)
    states = (Value(2), Value(2)) if kind == "lstm" else Value(2)
    names = tuple(map(TensorName, weights or ("w_ih", "w_hh", "b", "b")))
    layer = op(f"{kind}.input", Value(0), states, names, True, 1, 0.0, False, False, True)
    return graph(STEPS, batch, zeros, layer)


SMALLEST = -(2**63)
REFUSED: dict[str, tuple[Graph, str]] = {
    "padding": (conv((1, 1), (2**31 - 2,) * 2), "'padding' is [2147483646, 2147483646]; expected 0 to 65535"),
    "dilation": (conv((1, 1), (0, 0), (2**32, 1)), "'dilation' is 4294967296"),
    "stride": (conv((0, 1)), "'stride' is [0, 1]; expected 1 to 65535"),
    "negative padding": (conv((1, 1), (-1, 0)), "'padding' is [-1, 0]"),
    "groups": (conv((1, 1), (0, 0), (1, 1), 0), "'groups' is 0"),
    "padded image": (conv((9_999, 9_999), (60_000, 60_000)), "bytes at once"),
    "dtypes of a convolution": (
        graph(IMAGE, op("conv2d.default", Value(0), TensorName("doubles"))),
        "different dtypes",
    ),
    "hidden state of an LSTM": (
        recurrent("lstm", (1, 1, 2)),
        "hidden state is torch.float32 of shape [1, 1, 2]",
    ),
    "rows of a state": (recurrent("gru", (2, 2, 2), "w_ih", "w_hh", "b", "b"), "hidden state"),
    "weights of an LSTM": (recurrent("lstm", None, "w_ih", "w_ih", "b", "b"), "weight or bias"),
    "too few weights": (recurrent("lstm", None, "w_ih", "w_hh", "b"), "weight or bias is None"),
    "too many weights": (recurrent("lstm", None, "w_ih", "w_hh", "b", "b", "b"), "5 weights"),
    "no layer": (
        graph(
            STEPS, op("rnn_relu.input", Value(0), TensorName("state"), (), True, 0, 0.0, False, False, True)
        ),
        "hidden state",
    ),
    "state of a cell": (
        graph(
            InputSpec("x", "float32", ("batch", 3)),
            op(
                "rnn_tanh_cell.default", Value(0), TensorName("state"), TensorName("w_ih"), TensorName("w_hh")
            ),
        ),
        "hidden state",
    ),
    "keys and values": (
        graph(
            STEPS,
            op("slice.Tensor", Value(0), 1, 0, 2),
            op("scaled_dot_product_attention.default", Value(0), Value(0), Value(1)),
        ),
        "do not fit together",
    ),
    "mask": (
        graph(STEPS, op("scaled_dot_product_attention.default", *[Value(0)] * 3, TensorName("conv"))),
        "does not fit scores",
    ),
    "repeat": (graph(ROW, op("repeat.default", Value(0), (10**6, 1))), "bytes at once"),
    "memory that cannot be counted": (
        graph(ROW, op("repeat.default", Value(0), (2**31 - 1,) * 8)),
        "overflow",
    ),
    "expand": (graph(ROW, op("expand.default", Value(0), (HUGE, 2, 8))), "expected at most 2147483647"),
    "operations": (
        graph(
            ROW,
            op("unsqueeze.default", Value(0), 0),
            op("expand.default", Value(1), (2**31 - 1, -1, -1)),
            *(op("sum.default", Value(2)) for _ in range(30)),
        ),
        "operations",
    ),
    "pad": (graph(ROW, op("pad.default", Value(0), (2**30, 2**30))), "bytes at once"),
    "range": (graph(ROW, op("arange.default", 10**18)), "bytes at once"),
    "full": (graph(ROW, op("full.default", (2**20, 2**20), 0.5)), "bytes at once"),
    "parts": (
        graph(ROW, op("expand.default", Value(0), (10**6, -1, 8)), op("unbind.int", Value(1), 0)),
        "1000000 parts",
    ),
    "chunks": (graph(ROW, op("chunk.default", Value(0), 2**31 - 1)), "2147483647 parts"),
    "intermediate results": (
        graph(
            ROW,
            op("full.default", (200, 200), 1.0),
            op("einsum.default", "ab,cd,ac,bd->", (Value(1),) * 4),
        ),
        "bytes at once",
    ),
    "copies of a product": (
        graph(
            ROW,
            op("full.default", (100, 1, 8, 100), 1.0),
            op("full.default", (1, 100, 100, 1), 1.0),
            op("matmul.default", Value(1), Value(2)),
        ),
        "bytes at once",
    ),
    "pooling": (graph(IMAGE, op("max_pool2d.default", Value(0), (0, 1))), "stride"),
    "interpolation": (
        graph(IMAGE, op("upsample_nearest2d.vec", Value(0), None, (1e9, 1e9))),
        "overflow",
    ),
    "not a number": (
        graph(IMAGE, op("upsample_nearest2d.vec", Value(0), None, (float("nan"), 1.0))),
        "int64",
    ),
    "view": (graph(ROW, op("view.default", Value(0), (3, 5))), "shape '[3, 5]' is invalid"),
    "one batch only": (graph(ROW, op("view.default", Value(0), (2, 8))), "for batch 3"),
    "index of bool": (
        graph(ROW, op("gt.Scalar", Value(0), 0), op("index.Tensor", Value(0), (Value(1),))),
        "depends on data",
    ),
    "a trap of the processor": (
        graph(
            ROW,
            op("full.default", (2,), SMALLEST),
            op("full.default", (2,), -1),
            op("div.Tensor_mode", Value(1), Value(2), rounding_mode="trunc"),
        ),
        "rounding_mode 'trunc'",
    ),
    "the same by another name": (
        graph(
            ROW,
            op("full.default", (2,), SMALLEST),
            op("divide.Scalar_mode", Value(1), -1, rounding_mode="trunc"),
        ),
        "rounding_mode 'trunc'",
    ),
    "unknown mode": (
        graph(
            IMAGE,
            op("permute.default", Value(0), (0, 2, 3, 1)),
            op("slice.Tensor", Value(1), 3, 0, 2),
            op("grid_sampler.default", Value(0), Value(2), 7, 0, False),
        ),
        "'interpolation_mode' is 7; expected 0 to 2",
    ),
    "by zero": (graph(ROW, Node("integer.floordiv", (5, 0))), "division or modulo by zero"),
    "long numbers": (
        graph(ROW, *(Node("integer.mul", (Value(i) if i else 3, Value(i) if i else 3)) for i in range(9))),
        "whole number",
    ),
    "negative dimension": (graph(ROW, op("select.int", Value(0), -3, 0)), "Dimension out of range"),
    "norm": (
        graph(
            ROW,
            op("batch_norm.default", Value(0), *[TensorName("line")] * 4, False, 0.1, 1e-5, False),
        ),
        "weight has shape [1, 4]; expected [8]",
    ),
    "layer norm": (
        graph(ROW, op("layer_norm.default", Value(0), (8,), TensorName("line"))),
        "weight has shape",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_run_or_is_too_large_is_refused(name: str) -> None:
    hostile, message = REFUSED[name]
    with pytest.raises(FormatError, match=re.escape(message)) as caught:
        check(hostile).shapes()
    assert "graph node" in str(caught.value)
    assert "\n" not in str(caught.value)


ACCEPTED: dict[str, Graph] = {
    "lstm": recurrent("lstm", None),
    "mode": graph(
        ROW,
        op("to.dtype", Value(0), DType("int64")),
        op("div.Tensor_mode", Value(1), 3, rounding_mode="trunc"),
    ),
    "attention of one head for all": graph(
        IMAGE,
        op("slice.Tensor", Value(0), 1, 0, 1),
        op("scaled_dot_product_attention.default", Value(0), Value(1), Value(1)),
    ),
    "to the end": graph(ROW, op("slice.Tensor", Value(0), 1, 2, 2**63 - 1)),
    "padding": conv((1, 1), (1, 1), (2, 1)),
    "einsum": graph(ROW, op("einsum.default", "bi,bj->ij", (Value(0), Value(0)))),
    "bilinear": graph(IMAGE, op("upsample_bilinear2d.vec", Value(0), (9, 4), False, None)),
    "attributes of the first": graph(
        ROW, op("hardtanh.default", Value(0)), op("mul.Tensor", Value(1), Value(0))
    ),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_inferred_shapes_are_those_of_the_results(name: str) -> None:
    accepted = ACCEPTED[name]
    shapes = check(accepted).shapes()
    for place, batch in enumerate((2, 3)):
        found: list[Tensor] = [torch.zeros(batch, *map(int, accepted.inputs[0].shape[1:]))]

        def note(node: Node, args: Any, result: Any, found: list[Any] = found) -> None:
            found.append(result)

        Interpreter(accepted).run(found[:1], TENSORS.__getitem__, note)
        for index, shape in shapes.items():
            assert found[index].shape == tuple(size[place] for size in shape)
        floats = [i for i, x in enumerate(found) if isinstance(x, Tensor) and x.dtype == torch.float32]
        assert sorted(shapes) == floats


def test_a_call_is_checked_at_its_own_sizes() -> None:
    size = Node("aten.sym_size.int", (Value(0), 0))
    powers = [Node("integer.mul", (Value(i), Value(i))) for i in (1, 2)]
    growing = graph(ROW, size, *powers, op("zeros.default", (Value(3), Value(1))))
    interpreter = Interpreter(growing, check=check(growing))
    assert interpreter.run((torch.zeros(2, 8),), TENSORS.__getitem__).shape == (16, 2)
    with pytest.raises(ProxConnectError, match=r"zeros.default.*bytes at once.*for batch 100"):
        interpreter.run((torch.zeros(100, 8),), TENSORS.__getitem__)


def test_the_limit_is_that_of_one_sample() -> None:
    twice = graph(ROW, op("repeat.default", Value(0), (1, 1000)))
    within = check(twice, 40_000)
    for batch in (1, 100):
        assert Interpreter(twice, check=within).run((torch.zeros(batch, 8),), torch.empty).shape == (
            batch,
            8000,
        )
    with pytest.raises(FormatError, match="max_bytes allows 20000"):
        check(twice, 10_000).shapes()


def test_values_that_are_gone_take_no_memory() -> None:
    line = graph(ROW, *(op("add.Tensor", Value(i), 1.0) for i in range(50)))
    check(line, 4 * 8 * 4).shapes()
    kept = Graph(line.inputs, line.nodes, tuple(Value(i) for i in range(51)))
    with pytest.raises(FormatError, match="bytes at once"):
        check(kept, 4 * 8 * 4).shapes()


def test_sizes_that_vary_are_tried_until_the_network_runs() -> None:
    spec = InputSpec("x", "float32", ("batch", 4, "height", "width"))
    nodes = (
        op("conv2d.default", Value(0), TensorName("conv"), None, (2, 2)),
        op("transpose.int", Value(1), 2, 3),
        op("amax.default", Value(2), (2, 3)),
    )
    shapes = check(graph(spec, *nodes)).shapes()
    assert shapes[1] != shapes[2]  # height and width are different sizes
    assert shapes[3] == ((2, 3), (4, 4))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(1, 9), st.integers(0, 9), st.integers(1, 4), st.integers(1, 3))
def test_a_convolution_is_refused_as_torch_refuses_it(
    size: int, width: int, padding: int, dilation: int, stride: int
) -> None:
    spec = InputSpec("x", "float32", ("batch", 4, size, width))
    moves = (stride, stride), (padding, padding), (dilation, dilation)
    node = op("conv2d.default", Value(0), TensorName("conv"), None, *moves)
    try:
        expected = torch.conv2d(torch.zeros(2, 4, size, width), TENSORS["conv"], None, *moves)
    except RuntimeError:
        with pytest.raises(FormatError):
            check(graph(spec, node)).shapes()
        return
    shapes = check(graph(spec, node)).shapes()
    assert tuple(a for a, _ in shapes[1]) == expected.shape


def test_an_operator_that_fails_is_named() -> None:
    """An index out of range is data: it shows only when the network runs."""
    spec = InputSpec("x", "int64", ("batch",))
    lookup = graph(spec, op("embedding.default", TensorName("column"), Value(0)))
    check(lookup).shapes()
    with pytest.raises(
        ProxConnectError, match=r"graph node 0 \(aten.embedding.default\): index out of range"
    ):
        Interpreter(lookup).run((torch.tensor([7]),), TENSORS.__getitem__)


def test_varying_sizes_are_told() -> None:
    spec = InputSpec("x", "float32", ("batch", "time", 3))
    assert check_inputs(graph(spec), (torch.zeros(2, 7, 3),)) == {"batch": 2, "time": 7}


@torch.inference_mode()
def test_sizes_are_inferred_outside_of_inference_mode() -> None:
    """Keep torch from importing sympy for the shape of a convolution, as it does inside."""
    modes: list[bool] = []

    def weight(name: str) -> Tensor:
        modes.append(torch.is_inference_mode_enabled())
        return TENSORS[name].to("meta")

    SizeCheck(conv(), weight, None)({"batch": 2})
    assert modes == [False]
    assert torch.is_inference_mode_enabled()
