from __future__ import annotations

import math
import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from looking import every

from proxconnect import kernels
from proxconnect.errors import ProxConnectError
from proxconnect.format import BinaryTensor, unpack_weight
from proxconnect.format.bits import pack_bits, unpack_bits

pytestmark = pytest.mark.usefixtures("every_kernel_set")

SPECIAL = torch.tensor([0.0, -0.0, 1e-45, -1e-45, math.inf, -math.inf])

lengths = st.one_of(st.integers(0, 20), st.sampled_from([63, 64, 65, 127, 128, 129, 576, 577]))
seeds = st.integers(0, 2**31)


def matrix(rows: int, columns: int, seed: int) -> torch.Tensor:
    """Draw normal numbers, and put zeros of both signs, subnormals and infinities among them."""
    generator = torch.Generator().manual_seed(seed)
    special = SPECIAL[torch.randint(len(SPECIAL), (rows, columns), generator=generator)]
    chosen = torch.rand(rows, columns, generator=generator) < 0.2
    return torch.where(chosen, special, torch.randn(rows, columns, generator=generator))


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(0, 9), columns=lengths, seed=seeds)
def test_packing_equals_the_plain_form(rows: int, columns: int, seed: int) -> None:
    x = matrix(rows, columns, seed)
    assert torch.equal(kernels.pack_signs(x), pack_bits(x))


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(0, 9), columns=lengths, per_row=st.booleans(), half=st.booleans(), seed=seeds)
def test_weights_equal_the_plain_form_bit_for_bit(
    rows: int, columns: int, per_row: bool, half: bool, seed: int
) -> None:
    bits = pack_bits(matrix(rows, columns, seed))
    scale = torch.rand((rows, 1) if per_row else (1, 1), generator=torch.Generator().manual_seed(seed))
    scale[:1] = 0
    if half:
        scale = scale.half()
    weights = kernels.unpack_weights(bits, scale, (rows, columns))
    expected = unpack_bits(bits, (rows, columns), torch.float32) * scale.float()
    assert weights.dtype == torch.float32
    assert torch.equal(weights.view(torch.int32), expected.view(torch.int32))


def test_weights_take_the_shape_of_a_convolution() -> None:
    weight = torch.randn(5, 3, 3, 3).sign() * torch.rand(5, 1, 1, 1)
    scale = weight[:, :1, :1, :1].abs()
    assert torch.equal(kernels.unpack_weights(pack_bits(weight), scale, weight.shape), weight)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 4),
    columns=st.integers(1, 70),
    group=st.one_of(st.none(), st.integers(1, 80)),
    bits=st.sampled_from([1, 2]),
    seed=st.integers(0, 2**31),
)
def test_groups_and_zeros_unpack_as_the_format_says(
    rows: int, columns: int, group: int | None, bits: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    form = BinaryTensor((rows, columns), bits=bits, group=group)
    signs, nonzero = (torch.randn(rows, columns, generator=generator) for _ in range(2))
    planes = pack_bits(signs)
    if bits == 2:
        planes = torch.stack([pack_bits(nonzero), pack_bits(torch.where(nonzero >= 0, signs, -1.0))])
    scale = torch.rand(form.rows.scale_shapes[0], generator=generator)
    weights = kernels.unpack_weights(planes, scale, (rows, columns), group)
    expected = unpack_weight(planes, scale, form)
    assert torch.equal(weights.view(torch.int32), expected.view(torch.int32))


def test_threads_may_call_at_once() -> None:
    x = torch.randn(64, 1000)
    expected = pack_bits(x)
    results: list[torch.Tensor] = []
    threads = [
        threading.Thread(target=lambda: results.append(kernels.pack_signs(x)), daemon=True) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert every(torch.equal(bits, expected) for bits in results)


@pytest.mark.parametrize("place", [(0, 0), (2, 8), (4, 12)])
def test_the_sign_of_a_nan_is_that_of_zero(place: tuple[int, int]) -> None:
    x = torch.randn(5, 13)
    for value in (math.nan, -math.nan):
        bad, zero = x.clone(), x.clone()
        bad[place], zero[place] = value, 0.0
        assert torch.equal(kernels.pack_signs(bad), kernels.pack_signs(zero))


BYTES = torch.zeros(2, 2, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: kernels.pack_signs(torch.ones(2, 3, dtype=torch.float64)),
            "float64.*expected torch.float32",
        ),
        (lambda: kernels.pack_signs(torch.ones(2)), "expected torch.float32 with 2 dimensions"),
        (lambda: kernels.pack_signs(torch.ones(2, 3, device="meta")), "on meta.*on cpu"),
        (lambda: kernels.pack_signs(torch.ones(2, 3).T), r"x is not contiguous.*call \.contiguous\(\)"),
        (lambda: kernels.unpack_weights(BYTES, torch.ones(2), (2, 17)), r"expected \(2, 3\)"),
        (lambda: kernels.unpack_weights(BYTES, torch.ones(2), (3, 16)), r"expected \(3, 2\)"),
        (lambda: kernels.unpack_weights(BYTES, torch.ones(2), ()), "shape of a weight"),
        (lambda: kernels.unpack_weights(BYTES, torch.ones(2), (2, -8)), "shape of a weight"),
        (lambda: kernels.unpack_weights(BYTES, torch.ones(3), (2, 16)), "3 elements; expected 1, or 2"),
        (lambda: kernels.unpack_weights(BYTES, torch.ones(2), (2, 16), 0), "group is 0; expected at least 1"),
        (
            lambda: kernels.unpack_weights(BYTES, torch.ones(2), (2, 16), 8),
            r"scale has shape \(2,\).*\(2, 2\)",
        ),
        (lambda: kernels.unpack_weights(BYTES[None], torch.ones(2), (2, 16)), r"expected \(2, 2, 2\)"),
        (lambda: kernels.unpack_weights(BYTES.T, torch.ones(2), (2, 16)), "bits is not contiguous"),
        (lambda: kernels.unpack_weights(BYTES.float(), torch.ones(2), (2, 16)), "expected torch.uint8"),
        (lambda: kernels.unpack_weights(BYTES, torch.ones(2, device="meta"), (2, 16)), "scale.*on meta"),
        (lambda: kernels.use_kernels("portabel"), "unknown kernel set 'portabel'.*did you mean 'portable'"),
    ],
)
def test_bad_arguments_are_refused_by_name(call: object, words: str) -> None:
    assert callable(call)
    with pytest.raises(ProxConnectError, match=words):
        call()
