"""Attention of one token: near to float64, the cache as it should be, the same bits from every kernel set."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

import proxconnect as pc
from proxconnect import kernels
from proxconnect.kernels import token_attention

# texts, heads of queries, heads of keys, tokens, features, rotations
SIZES = [(1, 16, 8, 34, 128, 1), (3, 6, 2, 150, 20, 3), (2, 4, 4, 1, 2, 1), (1, 3, 1, 700, 64, 1)]


def case(sizes: tuple[int, ...], dtype: torch.dtype = torch.float32) -> list[Any]:
    texts, heads, key_heads, tokens, features, turns = sizes
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(dtype)

    query, key, value = (drawn(texts, n, features) for n in (heads, key_heads, key_heads))
    angles = drawn(turns, features)
    keys, values = drawn(2, texts, key_heads, tokens, features)
    return [(query, key, value), (angles.cos(), angles.sin()), keys, values, features**-0.5]


def literal(token: Any, rotation: Any, keys: Tensor, values: Tensor, scale: float) -> Tensor:
    """Compute what a decoder of transformers computes."""

    def rotated(x: Tensor) -> Tensor:
        cos, sin = (each[:, None] for each in rotation)
        first, second = x.chunk(2, dim=-1)
        return x * cos + torch.cat([-second, first], dim=-1) * sin

    query, key, value = token
    keys[:, :, -1], values[:, :, -1] = rotated(key), value
    queries = rotated(query)[:, :, None]
    found = scaled_dot_product_attention(queries, keys, values, scale=scale, enable_gqa=True)
    return found[:, :, 0]


@pytest.mark.parametrize("sizes", SIZES)
def test_it_is_near_to_float64(sizes: tuple[int, ...], every_kernel_set: None) -> None:
    given, exact = case(sizes), case(sizes, torch.float64)
    found, expected = token_attention(*given), literal(*exact)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)
    for place in (2, 3):
        torch.testing.assert_close(given[place].double(), exact[place], rtol=1e-6, atol=1e-6)
        assert torch.equal(given[place][:, :, :-1], exact[place][:, :, :-1].float())


def test_every_set_and_number_of_threads_gives_the_same_bits() -> None:
    before, found = kernels.active_kernels(), []
    for kernel_set in kernels.kernel_sets():
        kernels.use_kernels(kernel_set)
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(token_attention(*case((3, 6, 2, 300, 90, 1))))
    kernels.use_kernels(before)
    for other in found[1:]:
        assert torch.equal(found[0], other)


def test_any_layout_of_the_cache() -> None:
    token, rotation, keys, values, scale = case(SIZES[1])
    roomy = [torch.zeros(3, 2, 200, 20) for _ in range(2)]
    turned = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in (keys, values)]
    for room, x in zip(roomy, (keys, values), strict=True):
        room[:, :, :150] = x
    expected = token_attention(token, rotation, keys, values, scale)
    assert torch.equal(token_attention(token, rotation, *turned, scale), expected)
    assert torch.equal(turned[0], keys)
    assert torch.equal(token_attention(token, rotation, *(x[:, :, :150] for x in roomy), scale), expected)
    assert torch.equal(roomy[1][:, :, :150], values)
    assert not roomy[1][:, :, 150:].any()


def test_scores_of_any_size_and_numbers_that_are_not_finite() -> None:
    token, rotation, keys, values, _ = case((2, 4, 2, 40, 8, 1))
    large = token_attention(token, rotation, keys, values, 1e4)
    torch.testing.assert_close(large, literal(token, rotation, keys, values, 1e4), rtol=1e-4, atol=1e-4)
    whole = token_attention(token, rotation, keys, values, 0.3)
    keys[1, 0, 5, 3] = torch.nan
    found = token_attention(token, rotation, keys, values, 0.3)
    assert found[1, :2].isnan().all()
    assert torch.equal(found[0], whole[0])
    assert torch.equal(found[1, 2:], whole[1, 2:])


def changed(place: int, change: Any) -> list[Any]:
    given = case((2, 4, 2, 5, 6, 2))
    given[place] = change(given[place])
    return given


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (changed(0, lambda token: (token[0].double(), *token[1:])), "query is torch.float64"),
        (changed(0, lambda token: (token[0][0], *token[1:])), "query is"),
        (changed(0, lambda token: (*token[:2], token[2][:1])), "value is"),
        (changed(0, lambda token: (token[0][:, :3], *token[1:])), "3 heads of queries, 2 of keys"),
        (changed(0, lambda token: (token[0], *(x[:, :0] for x in token[1:]))), "keys is"),
        (changed(1, lambda turn: (turn[0], turn[1][:1])), "sin is"),
        (changed(1, lambda turn: tuple(x[:1].repeat(3, 1) for x in turn)), "3 rotations"),
        (changed(2, lambda keys: keys.to("meta")), "keys is"),
        (changed(2, lambda keys: keys[0]), "keys is"),
        (changed(2, lambda keys: keys[..., :4]), "keys is"),
        (changed(3, lambda values: values.transpose(2, 3).contiguous().transpose(2, 3)), "values is"),
        (case((1, 1, 1, 5, 3, 1)), "features is 3"),
        (case((1, 1, 1, 0, 4, 1)), "tokens is 0"),
    ],
)
def test_bad_input_is_refused(given: list[Any], message: str) -> None:
    with pytest.raises(pc.ProxConnectError, match=message):
        token_attention(*given)
