"""Hardened weights and their bits, against the literal reading of the format's page."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from proxconnect.errors import FormatError
from proxconnect.format import BinaryTensor, check_scale, pack_weight, unpack_weight


def literal(codes: Tensor, scale: Tensor, form: BinaryTensor) -> Tensor:
    """Code times scale, element by element, counted as docs/format.md counts."""
    weight = torch.empty(form.shape)
    for index in torch.cartesian_prod(*map(torch.arange, form.shape)).reshape(-1, len(form.shape)).tolist():
        channel, position = index[0], index[1:]
        sizes = list(form.shape[1:])
        if form.transposed is not None:
            inputs, outputs = form.shape[0] // form.transposed, form.shape[1]
            group, within = divmod(index[0], inputs)
            channel, position = group * outputs + index[1], [within, *index[2:]]
            sizes = [inputs, *form.shape[2:]]
        number = sum(p * math.prod(sizes[i + 1 :]) for i, p in enumerate(position))
        row = scale[channel] if len(scale) > 1 else scale[0]
        each = row.flatten()[number // form.group if form.group is not None else 0]
        weight[tuple(index)] = codes[tuple(index)] * each
    return weight


FORMS = [
    BinaryTensor((3, 5)),
    BinaryTensor((3, 5), group=2),
    BinaryTensor((2, 3, 2), bits=2),
    BinaryTensor((2, 3, 2), bits=2, group=4),
    BinaryTensor((4, 3, 2), transposed=1),
    BinaryTensor((7, 3), transposed=1),
    BinaryTensor((7, 3), bits=2, group=2, transposed=1),
    BinaryTensor((4, 3, 2), bits=2, transposed=2),
    BinaryTensor((4, 2, 1, 3), group=4, transposed=2),
    BinaryTensor((4, 1, 3), group=100, transposed=4),
]


@pytest.mark.parametrize("form", FORMS, ids=str)
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1000), which=st.integers(0, 1))
def test_bits_hold_codes_and_scales_as_the_page_says(form: BinaryTensor, seed: int, which: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(0 if form.bits == 1 else -1, 2, form.shape, generator=generator).float()
    codes = 2 * codes - 1 if form.bits == 1 else codes
    shapes = form.rows.scale_shapes
    scale = torch.rand(shapes[min(which, len(shapes) - 1)], generator=generator) + 0.5
    weight = literal(codes, scale, form)
    assert torch.equal(codes * form.rows.spread(scale), weight)
    bits = pack_weight(weight, form)
    assert tuple(bits.shape) == form.bits_shape
    assert torch.equal(unpack_weight(bits, scale, form), weight)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_scales_are_finite_and_have_no_sign(dtype: torch.dtype) -> None:
    limits = torch.finfo(dtype)
    good = torch.tensor([[0.0, limits.tiny], [limits.smallest_normal / 2, limits.max]], dtype=dtype)
    check_scale(good, "scale")
    check_scale(good[:, 1], "scale")
    check_scale(torch.empty(0, dtype=dtype), "scale")
    for bad in (torch.nan, -torch.nan, torch.inf, -torch.inf, -0.0, -limits.tiny, -1.0):
        scale = good.clone()
        scale[1, 0] = bad
        with pytest.raises(FormatError, match="scale: scales must be finite and not negative, nor -0"):
            check_scale(scale, "scale")
