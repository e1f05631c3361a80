"""The operators of the second reader compute what torch's compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import second_operators
import torch
from second_reader import RefusedError

import proxconnect as pc


def numbers(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


X, Y, IMAGES, ROWS = numbers(2, 3, 4), numbers(2, 3, 4) + 1, numbers(2, 4, 7, 6), numbers(5, 6)
MASK, WHOLE = X > 0, torch.arange(-6, 6).view(3, 4)
NORM = [numbers(4), numbers(4) - 1, numbers(4), numbers(4).abs() + 0.5]
STATES, WEIGHTS = [numbers(4, 2, 5), numbers(4, 2, 5)], []
for inputs in (3, 10):
    WEIGHTS += [numbers(20, inputs), numbers(20, 5), numbers(20), numbers(20)] * 2
ELEMENTWISE = """
neg abs sign floor ceil round exp sin cos tanh erf sigmoid silu hardsigmoid hardswish relu relu6 gelu hardtanh
leaky_relu elu softplus contiguous clone alias detach zeros_like ones_like
"""
Call = tuple[list[Any], dict[str, Any]]
ONE = [([X], {}), ([torch.tensor([0.0, -0.0, 0.5, 1.5, -2.5, 30.0])], {})]
TWO: list[Call] = [
    ([X, Y], {}),
    ([X, 2], {}),
    ([X, torch.tensor(2.5)], {}),
    ([WHOLE, 3], {}),
    ([WHOLE, 1.5], {}),
]
SCALED: list[Call] = [*TWO, ([X, Y], {"alpha": 2}), ([MASK, WHOLE.view(3, 1, 4)[:, :, :1]], {})]
CONV: list[Call] = [
    ([IMAGES, numbers(6, 4, 3, 2)], {}),
    ([IMAGES, numbers(6, 2, 3, 3), numbers(6), [2, 1], [1, 2], [1, 2], 2], {}),
    ([IMAGES[0], numbers(6, 4, 1, 1), None, [2]], {}),
]
TRANSPOSED: list[Call] = [
    ([IMAGES, numbers(4, 3, 3, 2)], {}),
    ([IMAGES, numbers(4, 3, 3, 3), numbers(6), [2, 3], [1, 0], [1, 2], 2, [1, 2]], {}),
]
POSITIVE: list[Call] = [([X.abs() + 0.1], {})]
REDUCED: list[Call] = [([X, [1]], {}), ([X, [0, -1], True], {})]
SHAPE: list[Call] = [([X, [6, -1]], {}), ([X, [2, 1, 12]], {})]
CASES: dict[str, list[Call]] = {
    **dict.fromkeys(
        ELEMENTWISE.split(),
        ONE,
    ),
    **dict.fromkeys(["log", "sqrt", "rsqrt", "reciprocal"], POSITIVE),
    **dict.fromkeys(["add.Tensor", "sub.Tensor"], SCALED[:-1]),
    **dict.fromkeys(["mul.Tensor", "div.Tensor"], TWO),
    "remainder.Tensor": [TWO[0], TWO[2]],
    **{f"{name}.Scalar": TWO[1:2] for name in ("add", "sub", "mul", "div", "remainder", "rsub")},
    **{
        f"{name}.{form}": [TWO[0] if form == "Tensor" else TWO[1]]
        for name in ("eq", "ne", "lt", "le", "gt", "ge")
        for form in ("Tensor", "Scalar")
    },
    "rsub.Tensor": TWO[:1],
    "logical_not": [([MASK], {}), ([WHOLE], {})],
    "pow.Tensor_Scalar": [([X.abs(), 1.5], {}), ([X, 2], {})],
    **dict.fromkeys(["maximum", "minimum", "max.other", "min.other"], TWO[:1]),
    "clamp": [([X, -0.5], {}), ([X, None, 0.25], {}), ([X, -1, 1], {}), ([WHOLE, -2, 3], {})],
    "prelu": [([IMAGES, numbers(4)], {}), ([X, numbers(1)], {})],
    "softmax.int": [([X, 1], {}), ([X, -1], {})],
    "log_softmax.int": [([X, 1], {})],
    "where.self": [([MASK, X, Y], {}), ([MASK, X, torch.tensor(0.5)], {})],
    "masked_fill.Scalar": [([X, MASK, float("-inf")], {})],
    "to.dtype": [([X, torch.int64], {}), ([WHOLE, torch.float32], {}), ([X, torch.bool], {})],
    "matmul": [([X, Y.transpose(1, 2)], {}), ([X, numbers(4)], {}), ([X, numbers(4, 5)], {})],
    "mm": [([ROWS, numbers(6, 3)], {})],
    "bmm": [([X, Y.transpose(1, 2)], {})],
    "linear": [([X, numbers(5, 4)], {}), ([X, numbers(5, 4), numbers(5)], {})],
    "addmm": [
        ([numbers(3), ROWS, numbers(6, 3)], {}),
        ([numbers(3), ROWS, numbers(6, 3)], {"beta": 2, "alpha": 3}),
    ],
    "conv2d": CONV,
    "conv1d": [([X, numbers(5, 3, 2), None, [1], [1]], {})],
    "conv3d": [([numbers(2, 2, 4, 3, 3), numbers(3, 2, 2, 2, 2)], {})],
    "conv1d.padding": [([X, numbers(5, 3, 2), None, [1], "same"], {})],
    "conv2d.padding": [
        ([IMAGES, numbers(6, 4, 3, 2), None, [1, 1], "same", [1, 2]], {}),
        ([IMAGES, numbers(6, 4, 3, 2), None, [2, 1], "valid"], {}),
    ],
    "conv3d.padding": [([numbers(2, 2, 4, 3, 3), numbers(3, 2, 2, 1, 3), None, [1], "same"], {})],
    "conv_transpose1d": [([X, numbers(3, 5, 2), None, [2]], {})],
    "conv_transpose2d.input": TRANSPOSED,
    "conv_transpose3d.input": [([numbers(2, 2, 4, 3, 3), numbers(2, 3, 2, 2, 2)], {})],
    "scaled_dot_product_attention": [
        ([numbers(2, 3, 5, 4), numbers(2, 3, 6, 4), numbers(2, 3, 6, 7)], {}),
        ([numbers(2, 3, 5, 4), numbers(2, 3, 6, 4), numbers(2, 3, 6, 7), numbers(5, 6)], {"scale": 0.3}),
        ([numbers(2, 3, 5, 4), numbers(2, 3, 6, 4), numbers(2, 3, 6, 7), numbers(5, 6) > -1.5], {}),
        (
            [numbers(2, 4, 5, 4), numbers(2, 2, 5, 4), numbers(2, 2, 5, 7), None, 0.0, True],
            {"enable_gqa": True},
        ),
    ],
    "embedding": [([ROWS, torch.tensor([[0, 4], [2, 2]])], {})],
    "lstm.input": [
        ([numbers(2, 6, 3), STATES, WEIGHTS, True, 2, 0.0, False, True, True], {}),
        ([numbers(6, 2, 3), [s[:1] for s in STATES], WEIGHTS[:2], False, 1, 0.0, False, False, False], {}),
    ],
    "batch_norm": [
        ([IMAGES, *NORM, False, 0.1, 1e-5, False], {}),
        ([IMAGES, None, None, *NORM[2:], False, 0.1, 1e-3, False], {}),
        ([IMAGES, *NORM[:2], None, None, True, 0.1, 1e-5, False], {}),
    ],
    "layer_norm": [([X, [4]], {}), ([X, [3, 4], numbers(3, 4), numbers(3, 4), 1e-3], {})],
    "rms_norm": [([X, [4]], {}), ([X, [3, 4], numbers(3, 4), 1e-3], {})],
    "group_norm": [([IMAGES, 2, numbers(4), numbers(4)], {}), ([IMAGES, 4], {})],
    "mean": [([X], {})],
    "mean.dim": REDUCED,
    "sum": [([X], {}), ([WHOLE], {})],
    "sum.dim_IntList": [*REDUCED, ([MASK, [1]], {}), ([X, None], {})],
    "amax": [*REDUCED, ([X], {})],
    "amin": REDUCED,
    "argmax": [([X], {}), ([X, 1], {}), ([X, 1, True], {})],
    "max_pool1d": [([X, [2]], {}), ([X, [3], [1], [1]], {})],
    "max_pool2d": [
        ([IMAGES, [2, 2]], {}),
        ([IMAGES, [3], [2], [1], [1, 2], True], {}),
        ([IMAGES, 2, 2, 0, 1, True], {}),
    ],
    "max_pool3d": [([numbers(2, 2, 4, 3, 3), [2, 2, 2], [1]], {})],
    "avg_pool1d": [([X, [2]], {})],
    "avg_pool2d": [
        ([IMAGES, [2, 2]], {}),
        ([IMAGES, [3, 3], [2, 2], [1, 1], False, False], {}),
        ([IMAGES, [3], [2], [1], False, True, 5], {}),
        ([IMAGES, [3, 2], [2, 3], [1, 1], True], {}),
        ([IMAGES, [3], [2], [1], True, False], {}),
    ],
    "avg_pool3d": [([numbers(2, 2, 4, 3, 3), [2, 2, 2], [1]], {})],
    "adaptive_avg_pool1d": [([X, [3]], {})],
    "adaptive_avg_pool2d": [([IMAGES, [1, 1]], {}), ([IMAGES, [3, 4]], {})],
    "adaptive_avg_pool3d": [([numbers(2, 2, 4, 3, 3), [2, 2, 1]], {})],
    "view": SHAPE,
    "reshape": SHAPE,
    "flatten.using_ints": [([X, 1], {}), ([X], {}), ([X, 0, 1], {}), ([torch.tensor(1.0)], {})],
    "unflatten.int": [([X, 2, [2, -1]], {})],
    "squeeze.dim": [([X[:1], 0], {}), ([X, 0], {})],
    "unsqueeze": [([X, 1], {}), ([X, -1], {})],
    "transpose.int": [([X, 1, -1], {})],
    "t": [([ROWS], {}), ([ROWS[0]], {})],
    "permute": [([X, [2, 0, -2]], {})],
    "expand": [([X[:, :1], [5, 2, 3, -1]], {}), ([X[:1], [2, 3, 4]], {})],
    "repeat": [([X, [2, 1, 3, 1]], {})],
    "cat": [([[X, Y, X[:, :1]], 1], {})],
    "stack": [([[X, Y], -1], {})],
    "split.Tensor": [([X, 2, -1], {}), ([X, 3, 2], {})],
    "chunk": [([X, 2, 1], {}), ([X, 3, 2], {}), ([X, 5, 0], {})],
    "unbind.int": [([X, 1], {})],
    "select.int": [([X, 1, -1], {}), ([X, -1, 2], {})],
    "slice.Tensor": [
        ([X, 2, 1, 2**63 - 1, 2], {}),
        ([X, 1, -2], {}),
        ([X, 1, 0, -1], {}),
        ([X, 0, 5, 9], {}),
    ],
    "pad": [([X, [1, 2]], {}), ([X, [0, 0, -1, 2], "constant", 0.5], {})],
    "dropout": [([X, 0.5, False], {})],
    "zeros": [([[2, 3]], {}), ([[2]], {"dtype": torch.int64})],
    "ones": [([[2, 3]], {})],
    "full": [([[2], 0.5], {}), ([[2], 3], {}), ([[2], True], {})],
    "arange": [([4], {}), ([2.5], {})],
    "arange.start": [([1, 4], {})],
    "arange.start_step": [([1, 8, 3], {}), ([0, 1, 0.25], {})],
    "sym_size.int": [([X, -1], {})],
}


def named(name: str) -> str:
    return f"aten.{name}" if "." in name else f"aten.{name}.default"


def mapped(value: Any, leaf: Callable[[Any], Any]) -> Any:
    return [mapped(item, leaf) for item in value] if isinstance(value, (list, tuple)) else leaf(value)


def numpy_leaf(value: Any) -> Any:
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    return value.numpy() if isinstance(value, torch.Tensor) else value


@pytest.mark.parametrize("name", CASES)
def test_an_operator_computes_what_torch_computes(name: str) -> None:
    _, packet, overload = named(name).split(".")
    function = getattr(getattr(torch.ops.aten, packet), overload)
    for args, kwargs in CASES[name]:
        numpy_args = mapped(args, numpy_leaf)
        numpy_kwargs = {key: numpy_leaf(value) for key, value in kwargs.items()}
        found = second_operators.OPERATORS[named(name)](*numpy_args, **numpy_kwargs)
        wanted = function(*args, **kwargs)
        if not isinstance(wanted, (tuple, list)):
            found, wanted = [found], [wanted]
        assert len(found) == len(wanted)
        for one, other in zip(found, mapped(wanted, numpy_leaf), strict=True):
            assert np.shape(one) == np.shape(other), (args, kwargs)
            assert isinstance(one, int) or one.dtype == other.dtype, (args, kwargs)
            np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-6)


def test_every_operator_of_the_second_reader_is_tested_and_is_one_of_the_library() -> None:
    pure = {name for name in second_operators.OPERATORS if name.startswith(("integer.", "getitem"))}
    assert {named(name) for name in CASES} | pure == second_operators.OPERATORS.keys()
    assert second_operators.OPERATORS.keys() <= pc.graph.OPERATORS


def test_sizes_are_computed_in_whole_numbers() -> None:
    operators = second_operators.OPERATORS
    assert [operators["integer.floordiv"](-7, 2), operators["integer.mod"](-7, 2)] == [-4, 1]
    assert operators["getitem"]([1, 2], 1) == 2
    with pytest.raises(RefusedError):
        operators["getitem"]([1, 2], 2)
    with pytest.raises(RefusedError):
        operators["integer.mul"](2**62, 2)
