"""Attention in integers: near to float64, the same bits from every kernel set, any layout."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

import proxconnect as pc
from proxconnect import kernels
from proxconnect.kernels import attention

SHAPES = [(1, 197, 197, 3, 64, 64), (2, 5, 70, 1, 33, 17), (1, 1, 1, 1, 1, 1), (1, 30, 130, 2, 7, 130)]


def heads(shape: tuple[int, ...], size: float = 1.0) -> list[Tensor]:
    batches, queries, keys, count, features, outputs = shape
    generator = torch.Generator().manual_seed(0)
    sizes = ((queries, features), (keys, features), (keys, outputs))
    rows = [torch.randn(batches, n, count, columns, generator=generator) * size for n, columns in sizes]
    return [x.transpose(1, 2) for x in rows]


def taken(*arguments: object) -> Tensor:
    found = attention(*arguments)  # type: ignore[arg-type]
    assert found is not None
    return found


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("size", "bound"), [(0.3, 1e-4), (1.0, 3e-4), (3.0, 6e-3)])
def test_its_error_is_a_fraction_of_bfloat16s(
    shape: tuple[int, ...], size: float, bound: float, every_kernel_set: None
) -> None:
    inputs = heads(shape, size)
    expected = scaled_dot_product_attention(*[x.double() for x in inputs])
    narrow = scaled_dot_product_attention(*[x.bfloat16() for x in inputs]).double()
    found, greatest = taken(*inputs), inputs[2].abs().max()
    assert (found - expected).abs().max() <= bound * greatest
    assert (found - expected).norm() <= 0.25 * (narrow - expected).norm()


def test_every_set_and_number_of_threads_gives_the_same_bits() -> None:
    inputs, before, found = heads((2, 50, 70, 3, 24, 40)), kernels.active_kernels(), []
    for kernel_set in kernels.kernel_sets():
        kernels.use_kernels(kernel_set)
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(taken(*inputs))
    kernels.use_kernels(before)
    for other in found[1:]:
        assert torch.equal(found[0], other)


def test_any_layout_and_scale() -> None:
    query, key, value = heads((2, 9, 20, 2, 6, 10))
    for scale in (0.25, -2.0, 0.0):
        expected = taken(query.contiguous(), key.contiguous(), value.contiguous(), scale)
        turned = [x.transpose(2, 3).contiguous().transpose(2, 3) for x in (query, key, value)]
        assert torch.equal(taken(query, key, value, scale), expected)
        assert torch.equal(taken(*turned, scale), expected)
        exact = scaled_dot_product_attention(query, key, value, scale=scale)
        torch.testing.assert_close(expected, exact, rtol=0, atol=1e-2)
    assert taken(query, key, value).transpose(1, 2).is_contiguous()


def test_one_key_among_many_keeps_its_weight() -> None:
    query, key, value = torch.zeros(1, 1, 2, 4), torch.zeros(1, 1, 1000, 4), torch.zeros(1, 1, 1000, 3)
    query[..., 0], key[..., 7, 0], value[..., 7, :] = 1, 40, 1.0
    torch.testing.assert_close(
        taken(query, key, value), scaled_dot_product_attention(query, key, value), rtol=1e-3, atol=1e-5
    )
    flat = taken(torch.zeros_like(query), key, value)
    torch.testing.assert_close(flat, torch.full_like(flat, 1e-3), rtol=1e-3, atol=0)


@pytest.mark.parametrize("which", range(3))
@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf"), 1e30])
def test_numbers_that_it_cannot_quantize(which: int, number: float) -> None:
    inputs = heads((1, 4, 20, 1, 5, 6))
    inputs[which][0, 0, 2, 3] = number
    assert attention(*inputs) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda q, k, v: (q.double(), k, v), "query is torch.float64"),
        (lambda q, k, v: (q, k[0], v), "key is"),
        (lambda q, k, v: (q, k, v.to("meta")), "value is"),
        (lambda q, k, v: (q, k[..., :3], v), "have the shapes"),
        (lambda q, k, v: (q, k[:, :, :0], v[:, :, :0]), "keys is 0"),
        (lambda q, k, v: (q, k.repeat(1, 1, 5000, 1), v.repeat(1, 1, 5000, 1)), "keys is"),
    ],
)
def test_bad_input_is_refused(change: object, message: str) -> None:
    inputs = change(*heads((1, 4, 20, 1, 5, 6)))  # type: ignore[operator]
    with pytest.raises(pc.ProxConnectError, match=message):
        attention(*inputs)
