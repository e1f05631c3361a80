"""Attention in bfloat16: near to its literal form, and none where processors multiply no tiles."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from proxconnect import kernels
from proxconnect.kernels import attention

SHAPES = [
    (1, 197, 197, 3, 64, 64),
    (2, 5, 70, 1, 33, 17),
    (1, 1, 1, 1, 1, 1),
    (1, 30, 130, 2, 7, 130),
    (1, 16, 33, 1, 65, 31),
    (1, 33, 64, 2, 32, 32),
    (2, 17, 16, 1, 31, 1),
]


@pytest.fixture
def tiles() -> Iterator[None]:
    """Use the kernels for processors that multiply tiles."""
    if "amx" not in kernels.kernel_sets():
        pytest.skip("this processor multiplies no tiles")
    before = kernels.active_kernels()
    kernels.use_kernels("amx")
    yield
    kernels.use_kernels(before)


def heads(shape: tuple[int, ...], size: float = 1.0) -> list[Tensor]:
    batches, queries, keys, count, features, outputs = shape
    sizes = ((queries, features), (keys, features), (keys, outputs))
    rows = [torch.randn(batches, n, count, columns) * size for n, columns in sizes]
    return [x.transpose(1, 2) for x in rows]


def taken(*inputs: Tensor, scale: float | None = None) -> Tensor:
    found = attention(*inputs, scale, bfloat16=True)
    assert found is not None
    return found


def literal(query: Tensor, key: Tensor, value: Tensor, scale: float | None = None) -> Tensor:
    """Compute what ``csrc/interface/attention.h`` says of bfloat16, with sums in double precision."""
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    log2_of_e = torch.tensor(1.44269504)
    q, k, v = (x.bfloat16().double() for x in (query * (scale * log2_of_e), key, value))
    scores = q @ k.transpose(2, 3)
    weights = (2 ** (scores - scores.amax(3, keepdim=True))).float().bfloat16().double()
    return weights @ v / weights.sum(3, keepdim=True)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("scale", [None, -0.5])
def test_it_is_its_literal_form_but_for_weights_next_to_a_tie(
    shape: tuple[int, ...], size: float, scale: float | None, tiles: None
) -> None:
    inputs = heads(shape, size)
    found, expected = taken(*inputs, scale=scale), literal(*inputs, scale=scale)
    assert found.dtype == torch.float32
    assert (found - expected).norm() <= 2e-3 * expected.norm()


def test_equal_scores_give_the_mean(tiles: None) -> None:
    values = torch.arange(40.0).view(1, 1, 40, 1)
    found = taken(torch.zeros(1, 1, 3, 8), torch.randn(1, 1, 40, 8), values)
    assert torch.equal(found, torch.full((1, 1, 3, 1), 19.5))


def test_any_layout_and_number_of_threads_gives_the_same_bits(tiles: None) -> None:
    inputs = heads((2, 40, 70, 3, 24, 40))
    expected = taken(*[x.contiguous() for x in inputs])
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        assert torch.equal(taken(*inputs), expected)


@pytest.mark.parametrize("which", range(3))
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_makes_outputs_that_are_not_finite_is_not_taken(which: int, number: float, tiles: None) -> None:
    inputs = [x.abs() for x in heads((1, 40, 20, 1, 5, 6))]
    inputs[which][0, 0, 2, 3] = number
    assert attention(*inputs, bfloat16=True) is None


def test_a_score_of_minus_infinity_weighs_nothing(tiles: None) -> None:
    query, key, value = heads((1, 40, 20, 1, 5, 6))
    others = taken(query.abs(), key[:, :, 1:], value[:, :, 1:])
    key[0, 0, 0, 3] = -float("inf")
    torch.testing.assert_close(taken(query.abs(), key, value), others)


@pytest.mark.parametrize("kernel_set", kernels.kernel_sets())
def test_other_sets_have_none(kernel_set: str) -> None:
    before = kernels.active_kernels()
    kernels.use_kernels(kernel_set)
    found = attention(*heads((1, 4, 20, 1, 5, 6)), bfloat16=True)
    kernels.use_kernels(before)
    assert (found is None) == (kernel_set != "amx")
