from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from proxconnect.errors import FormatError, ProxConnectError
from proxconnect.format.bits import check_bits, pack_bits, packed_width, unpack_bits

shapes = st.lists(st.integers(0, 19), min_size=1, max_size=4).map(tuple)


def literal_bytes(row: list[bool]) -> list[int]:
    """Pack bits by the sentence of docs/format.md, word for word."""
    packed = [0] * math.ceil(len(row) / 8)
    for i, positive in enumerate(row):
        if positive:
            packed[i // 8] |= 1 << (i % 8)
    return packed


@settings(max_examples=60, deadline=None)
@given(shape=shapes, seed=st.integers(0, 2**31))
def test_packing_is_the_specified_bit_order_and_unpacking_undoes_it(
    shape: tuple[int, ...], seed: int
) -> None:
    signs = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.5
    bits = pack_bits(signs)
    count = math.prod(shape[1:])
    assert bits.dtype == torch.uint8
    assert bits.shape == (shape[0], packed_width(count))
    assert bits.tolist() == [literal_bytes(row) for row in signs.reshape(shape[0], count).tolist()]
    assert torch.equal(unpack_bits(bits, shape), signs)
    assert torch.equal(unpack_bits(bits, shape, torch.float32), signs.float() * 2 - 1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_numbers_are_packed_by_sign_and_both_zeros_are_positive(dtype: torch.dtype) -> None:
    tiny = torch.finfo(dtype).tiny
    x = torch.tensor([[0.0, -0.0, tiny, -tiny, math.inf, -math.inf, 3.0, -3.0]], dtype=dtype)
    assert unpack_bits(pack_bits(x), x.shape, torch.int8).tolist() == [[1, 1, 1, -1, 1, -1, 1, -1]]


def test_packing_reads_through_strides_and_leaves_its_argument_alone() -> None:
    x = torch.randn(6, 9)
    before = x.clone()
    assert torch.equal(pack_bits(x.T), pack_bits(x.T.contiguous()))
    assert torch.equal(x, before)


def test_a_nan_is_refused_by_its_place() -> None:
    x = torch.ones(3, 2, 5)
    x[1, 1, 2] = math.nan
    with pytest.raises(ProxConnectError, match="NaN at row 1, element 7"):
        pack_bits(x)


@pytest.mark.parametrize("x", [torch.tensor(1.0), torch.ones(2, 2, dtype=torch.complex64)])
def test_what_has_no_rows_of_signs_is_refused(x: torch.Tensor) -> None:
    with pytest.raises(ProxConnectError, match="expected a real or bool tensor"):
        pack_bits(x)


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 5), count=st.integers(1, 40).filter(lambda n: n % 8), data=st.data())
def test_each_set_padding_bit_is_refused(rows: int, count: int, data: st.DataObject) -> None:
    bits = pack_bits(torch.ones(rows, count))
    check_bits(bits, (rows, count))
    row = data.draw(st.integers(0, rows - 1))
    bits[row, -1] |= 1 << data.draw(st.integers(count % 8, 7))
    with pytest.raises(
        FormatError, match=f"^conv1: row {row} has padding bits set beyond its {count} elements"
    ):
        check_bits(bits, (rows, count), "conv1")
    with pytest.raises(FormatError, match="padding bits"):
        unpack_bits(bits, (rows, count))


@pytest.mark.parametrize(
    ("bits", "shape"),
    [
        (torch.zeros(2, 1, dtype=torch.uint8), (2, 9)),
        (torch.zeros(2, 2, dtype=torch.uint8), (2, 8)),
        (torch.zeros(3, 1, dtype=torch.uint8), (2, 8)),
        (torch.zeros(2, dtype=torch.uint8), (2, 1)),
        (torch.zeros(2, 1, dtype=torch.int8), (2, 8)),
        (torch.zeros(0, 0, dtype=torch.uint8), (10**18, 10**18)),
    ],
)
def test_bytes_that_do_not_fit_the_shape_are_refused(bits: torch.Tensor, shape: tuple[int, ...]) -> None:
    with pytest.raises(FormatError, match="cannot hold the signs of shape"):
        unpack_bits(bits, shape)


@pytest.mark.parametrize("shape", [(), (-1, 8), (2, -8)])
def test_what_is_not_a_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(FormatError, match="not the shape of a weight"):
        unpack_bits(torch.zeros(2, 1, dtype=torch.uint8), shape)
