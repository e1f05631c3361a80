"""Shapes and dtypes of base operators by formula are those of the results; nothing slow is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from looking import every
from torch import Tensor

from proxconnect.graph._base_rules import base_result
from proxconnect.graph._base_shapes import tensors

aten = torch.ops.aten


def without_data(values: Any) -> Any:
    if isinstance(values, Tensor):
        return values.to("meta")
    return [without_data(value) for value in values] if isinstance(values, list) else values


def forms(results: Any) -> list[tuple[torch.dtype, torch.Size]]:
    return [(x.dtype, x.shape) for x in tensors([results])]


X = torch.arange(1.0, 49).reshape(2, 4, 3, 2)
WHOLE = torch.arange(6).reshape(2, 3)
MATRIX = torch.ones(3, 4)
# Operators with their arguments; all of them have a rule.
CALLS: list[tuple[Any, list[Any]]] = [
    (aten.add.Tensor, [X, torch.ones(3, 1)]),
    (aten.add.Tensor, [WHOLE, torch.ones(())]),
    (aten.add.Tensor, [WHOLE, 0.5]),
    (aten.mul.Tensor, [X.half(), X]),
    (aten.div.Tensor, [WHOLE, WHOLE + 1]),
    (aten.gt.Scalar, [X, 3]),
    (aten.where.self, [X > 3, X, torch.zeros(2)]),
    (aten.clamp.default, [WHOLE, 0.5]),
    (aten.sin.default, [WHOLE]),
    (aten.bitwise_and.Tensor, [WHOLE, WHOLE.short()]),
    (aten.floor_divide.default, [WHOLE, torch.tensor(2)]),
    (aten.hardswish.default, [X]),
    (aten._prelu_kernel.default, [X, torch.ones(1, 4, 1, 1)]),
    (aten.mean.dim, [X, [-1, 1], True]),
    (aten.mean.default, [X]),
    (aten.sum.dim_IntList, [WHOLE, None]),
    (aten.sum.dim_IntList, [WHOLE, [0], False]),
    (aten.amax.default, [X, [2]]),
    (aten.aminmax.default, [X]),
    (aten.any.dim, [WHOLE, 1]),
    (aten.var_mean.correction, [X, [1, 2]]),
    (aten.std.correction, [X, None]),
    (aten.linalg_vector_norm.default, [X, 2, [-1]]),
    (aten.count_nonzero.dim_IntList, [WHOLE, [1]]),
    (aten.logsumexp.default, [X, [0], True]),
    (aten.prod.dim_int, [WHOLE, 0]),
    (aten.cumsum.default, [WHOLE.short(), 1]),
    (aten.cummax.default, [X, 1]),
    (aten.sort.default, [X, 1]),
    (aten._softmax.default, [X, 1, False]),
    (aten.zeros_like.default, [WHOLE]),
    (aten.scatter.src, [WHOLE, 1, WHOLE % 3, WHOLE]),
    (aten.index_put.default, [X, [torch.tensor([1])], torch.ones(())]),
    (aten.mm.default, [MATRIX, MATRIX.T]),
    (aten.bmm.default, [X[0], X[0].mT]),
    (aten.addmm.default, [torch.ones(3), MATRIX, MATRIX.T]),
    (aten.baddbmm.default, [torch.ones(4, 1, 1), X[0], X[0].mT]),
    (aten.cat.default, [[X, X.half()], -1]),
    (aten.stack.default, [[X, X], -1]),
    (aten.index.Tensor, [X, [torch.tensor([[1, 0, 1]])]]),
    (aten.index.Tensor, [X, [None, WHOLE % 3, torch.tensor([1, 0, 1])]]),
    (aten.index.Tensor, [X, [torch.tensor([1]), None, WHOLE % 3]]),
    (aten.upsample_bilinear2d.default, [X, [5, 1], False]),
    (aten.upsample_nearest2d.default, [X.half(), [5, 1]]),
    (aten.flip.default, [X, [0, 1]]),
    (aten.max_pool2d_with_indices.default, [X, [2], [], [1], [1], True]),
    (aten.avg_pool2d.default, [X[0], [3, 1], [2], [1, 0], True]),
]


@pytest.mark.parametrize(("function", "arguments"), CALLS, ids=[str(call[0]) for call in CALLS])
def test_a_rule_says_what_the_operator_makes(function: Any, arguments: list[Any]) -> None:
    expected = function(*arguments)
    found = base_result(function, without_data(arguments), {})
    assert forms(found) == forms(expected)
    assert every(x.is_meta for x in tensors([found]))


@pytest.mark.parametrize("numbers", [(7,), (2, 9), (2, 9, 3), (0,)])
def test_whole_numbers_are_counted(numbers: tuple[int, ...]) -> None:
    function = {1: aten.arange.default, 2: aten.arange.start, 3: aten.arange.start_step}[len(numbers)]
    found = base_result(function, numbers, {"device": torch.device("meta")})
    assert forms(found) == forms(torch.arange(*numbers))


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (aten.add.Tensor, [X, torch.ones(5)]),
        (aten.mm.default, [MATRIX, MATRIX]),
        (aten.addmm.default, [torch.ones(2), MATRIX, MATRIX.T]),
        (aten.cat.default, [[X, X[0]], 0]),
        (aten.cat.default, [[X, X[:, :1]], 0]),
        (aten.cat.default, [[X, X], 4]),
        (aten.stack.default, [[X, X[:1]]]),
        (aten.upsample_bilinear2d.default, [X, [5, 0], False]),
        (aten.index.Tensor, [WHOLE, [torch.tensor([0, 1]), torch.tensor([0, 1, 0])]]),
    ],
)
def test_no_rule_answers_where_the_operator_refuses(function: Any, arguments: list[Any]) -> None:
    with pytest.raises((RuntimeError, IndexError)):
        function(*arguments)
    assert base_result(function, without_data(arguments), {}) is None


def agree(function: Any, arguments: list[Any], degenerate: bool) -> None:
    found = tensors([base_result(function, without_data(arguments), {})])
    try:
        shape = tensors([function(*arguments)])[0].shape
    except RuntimeError:
        assert not found
    else:
        assert [x.shape for x in found[:1]] == [shape] or ((degenerate or 0 in shape) and not found)


SMALL = st.integers(0, 4)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 3), SMALL, SMALL, SMALL, SMALL, SMALL, st.booleans(), st.integers(1, 2), st.booleans())
def test_convolutions_of_any_geometry(
    rank: int, size: int, s: int, p: int, d: int, m: int, transposed: bool, groups: int, bias: bool
) -> None:
    x, weight = torch.ones(2, 4, *range(size, size + rank)), torch.ones(4, 4 // groups, *range(1, rank + 1))
    moves = [[s] * rank, [p], [d], transposed, [m], groups]
    offset = torch.ones(4) if bias else None
    arguments = [x, weight, offset, *moves]
    agree(aten.convolution.default, arguments, degenerate=m > 0 or 0 in (size, s, d))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 7), st.lists(SMALL, min_size=2, max_size=2), SMALL, SMALL, SMALL, st.booleans())
def test_pools_of_any_geometry(
    size: int, kernel: list[int], stride: int, padding: int, dilation: int, ceil: bool
) -> None:
    x = torch.ones(2, 3, size, size + 1)
    moves = [kernel, [stride], [padding]]
    agree(aten.max_pool2d_with_indices.default, [x, *moves, [dilation], ceil], degenerate=size == 0)
    agree(aten.avg_pool2d.default, [x, *moves, ceil], degenerate=size == 0)


LOAD = """
import sys
import torch
import proxconnect as pc
import test_base_rules
from proxconnect.graph._meter import Meter

before = set(sys.modules)
for model in ("resnet20-cifar10-bwa", "vit-cifar10-bw"):
    pc.zoo.load(model)
with Meter(None):
    for function, arguments in test_base_rules.CALLS:
        function(*test_base_rules.without_data(arguments))
    x = torch.empty(2, 3, 8, 5, device="meta")
    torch.nn.functional.scaled_dot_product_attention(x, x, x)
slow = ("torch._dynamo", "torch._inductor", "torch.export", "torch.onnx", "sympy")
print(*sorted(name for name in set(sys.modules) - before if name.startswith(slow)))
"""


def test_loading_imports_no_compiler() -> None:
    run = [sys.executable, "-c", LOAD]
    here = Path(__file__).parent
    found = {**os.environ, "PYTHONPATH": str(here.parent / "support")}
    done = subprocess.run(run, check=True, capture_output=True, text=True, cwd=here, env=found)
    assert done.stdout.split() == []
