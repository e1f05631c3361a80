"""Attention in integers or in bfloat16: by a kernel where it takes the tensors, else torch's, to the bit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from proxconnect import kernels
from proxconnect.engine._attention import bfloat16_attention, integer_attention


def heads(keys: int = 70, dims: tuple[int, ...] = (2, 3)) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(*dims, n, 8, generator=generator) for n in (5, keys, keys)]


@torch.no_grad()
def test_it_is_near_to_torchs() -> None:
    inputs = heads()
    for scale in (None, 0.1, -1.0):
        expected = scaled_dot_product_attention(*inputs, scale=scale)
        found = integer_attention(*inputs, scale=scale)
        assert not torch.equal(found, expected)
        torch.testing.assert_close(found, expected, rtol=0, atol=5e-3)


def with_nan() -> list[Tensor]:
    inputs = heads()
    inputs[1][0, 0, 0, 0] = float("nan")
    return inputs


UNTAKEN = {
    "few keys": heads(keys=20),
    "other dimensions": heads(dims=(2,)),
    "not finite": with_nan(),
    "heads that broadcast": [heads()[0], *[x[:, :1] for x in heads()[1:]]],
    "a gradient is wanted": [x.requires_grad_() for x in heads()],
    "float64": [x.double() for x in heads()],
}


@pytest.mark.parametrize("inputs", UNTAKEN.values(), ids=UNTAKEN)
def test_what_the_kernel_does_not_take_is_torchs(inputs: list[Tensor]) -> None:
    found, expected = integer_attention(*inputs), scaled_dot_product_attention(*inputs)
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("inputs", UNTAKEN.values(), ids=UNTAKEN)
def test_what_the_kernel_does_not_take_is_torchs_in_bfloat16(inputs: list[Tensor]) -> None:
    narrow = scaled_dot_product_attention(*[x.bfloat16() for x in inputs]).float()
    torch.testing.assert_close(bfloat16_attention(*inputs), narrow, rtol=0, atol=0, equal_nan=True)


@torch.no_grad()
def test_in_bfloat16_masks_and_causes_are_torchs() -> None:
    inputs, mask = heads(), torch.ones(5, 70, dtype=torch.bool).tril()
    narrow = [x.bfloat16() for x in inputs]
    for options in ({"mask": mask}, {"is_causal": True}):
        torchs = {("attn_mask" if name == "mask" else name): value for name, value in options.items()}
        expected = scaled_dot_product_attention(*narrow, **torchs).float()
        assert torch.equal(bfloat16_attention(*inputs, **options), expected)


@torch.no_grad()
def test_in_bfloat16_the_kernel_is_used_where_there_is_one() -> None:
    inputs = heads()
    by_kernel = kernels.attention(*inputs, bfloat16=True)
    if by_kernel is None:
        pytest.skip("this processor multiplies no tiles")
    assert torch.equal(bfloat16_attention(*inputs), by_kernel)
