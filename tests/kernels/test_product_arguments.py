"""Arguments that the kernels refuse, and the folding of their steps."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from proxconnect import kernels
from proxconnect.errors import ProxConnectError
from proxconnect.format.bits import unpack_bits
from proxconnect.kernels import Affine, Panels, Thresholds, pack_signs

BITS = torch.zeros(2, 2, dtype=torch.uint8)
SET = torch.full((2, 2), 255, dtype=torch.uint8)
X = torch.zeros(2, 16)
WEIGHT = Panels.lay_out(BITS, 16)
TERNARY = Panels.lay_out(torch.stack([BITS, BITS]), 16)
ONES = Affine.of(torch.ones(2))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Panels.lay_out(BITS, 17), "bits has rows of 2 bytes.*expected 3 bytes"),
        (lambda: Panels.lay_out(BITS.int(), 16), "bits is a torch.int32 tensor"),
        (lambda: Panels.lay_out(BITS.T, 16), "bits is not contiguous"),
        (lambda: Panels.lay_out(BITS, -1), "k is -1"),
        (lambda: Panels.lay_out(BITS, 2**31), r"less than 2\*\*31"),
        (lambda: Panels.lay_out(SET, 15), "padding bits set after the 15 signs"),
        (lambda: kernels.w1a1_sums(BITS[:, :1], WEIGHT), "a has rows of 1 bytes.*k = 16"),
        (lambda: kernels.w1a1_sums(BITS.to("meta"), WEIGHT), "on meta.*on cpu"),
        (
            lambda: kernels.w1a1_sums(SET, Panels.lay_out(BITS, 13)),
            "a has padding bits set after the 13 signs",
        ),
        (
            lambda: kernels.w1a1_affine(BITS, WEIGHT, Affine.of(torch.ones(3))),
            "affine has 3 outputs; expected 2",
        ),
        (
            lambda: kernels.w1a1_affine(BITS, WEIGHT, Affine.of(torch.ones(2, 2), group=32)),
            "scales for groups of inputs; this kernel takes none",
        ),
        (lambda: kernels.w1a1_affine(BITS, WEIGHT, ONES, X), r"residual.*\(2, 16\); expected \(2, 2\)"),
        (
            lambda: kernels.w1a32(X, WEIGHT, ONES, torch.ones(2, 2).double()),
            "residual is a torch.float64",
        ),
        (lambda: kernels.w1a32(X, WEIGHT, ONES, torch.ones(2, 3).T[:2]), "residual is not contiguous"),
        (
            lambda: kernels.w1a1_signs(BITS, WEIGHT, Thresholds.of(torch.ones(3), torch.ones(3), 16)),
            "thresholds has 3 outputs; expected 2",
        ),
        (lambda: kernels.w1a32(X.double(), WEIGHT, ONES), "x is a torch.float64.*expected torch.float32"),
        (lambda: kernels.w1a32(X[0], WEIGHT, ONES), "expected torch.float32 with 2 dimensions"),
        (lambda: kernels.w1a32(X[:, :9], WEIGHT, ONES), "x has rows of 9; expected k = 16"),
        (lambda: kernels.w1a32(X.T.expand(16, 2), WEIGHT, ONES), "x is not contiguous"),
        (lambda: kernels.w1a8(X, WEIGHT, Affine.of(torch.ones(2, 2), group=32)), "2 groups.*expected 1"),
        (lambda: kernels.w1a32(X, WEIGHT, Affine.of(torch.ones(2, 2), group=32)), "2 groups.*expected 1"),
        (lambda: kernels.w1a1_sums(BITS, TERNARY), "the weight is ternary; this kernel takes"),
        (lambda: Panels.lay_out(torch.stack([BITS] * 3), 16), "bits has 3 planes; expected 2"),
        (lambda: Panels.lay_out(torch.stack([SET, BITS]), 15), "padding bits set after the 15 signs"),
        (lambda: Panels.over(TERNARY.words[:1].repeat(3, 1, 1), 2, 16), "words has shape"),
        (lambda: Affine.of(torch.ones(2, 2), group=48), "group is 48.*multiple of 32"),
        (lambda: Affine.of(torch.ones(2, 2), group=0), "group is 0"),
        (lambda: Affine.of(torch.ones(2), group=32), r"\(2,\); expected \(groups, n\), with groups of 32"),
        (lambda: Affine.over(torch.ones(2, 2), torch.ones(2)), r"\(2, 2\); expected \(n,\)"),
        (lambda: kernels.w1a8(X, WEIGHT, ONES, bits=9), "bits is 9; expected 2 to 8"),
        (lambda: kernels.w1a8(X, WEIGHT, ONES, bits=1), "bits is 1"),
        (lambda: Affine.of(torch.ones(1, 2, 3)), r"expected \(n,\)"),
        (lambda: Affine.of(torch.ones(2), torch.ones(3)), r"bias has shape \(3,\); expected \(2,\)"),
        (lambda: Affine.of(torch.ones(2), slope=torch.ones(1)), r"slope has shape \(1,\); expected \(2,\)"),
        (lambda: Affine.of(torch.ones(2).int()), "scale is torch.int32; expected floating point"),
        (lambda: Affine.of(torch.ones(2, device="meta")), "scale.*on meta"),
        (
            lambda: Thresholds.of(torch.tensor([torch.inf]), torch.ones(1), 3),
            "scale holds an infinity or a NaN",
        ),
        (
            lambda: Thresholds.of(torch.ones(1), torch.tensor([torch.nan]), 3),
            "bias holds an infinity or a NaN",
        ),
    ],
)
def test_bad_arguments_are_refused_by_name(call: object, words: str) -> None:
    assert callable(call)
    with pytest.raises(ProxConnectError, match=words):
        call()


def test_more_inputs_than_8_bit_sums_hold_are_refused() -> None:
    k = 2**24 + 8
    weight = Panels.lay_out(torch.zeros(1, k // 8, dtype=torch.uint8), k)
    with pytest.raises(ProxConnectError, match=r"k is 16777224; expected at most 2\*\*24"):
        kernels.w1a8(torch.zeros(0, k), weight, Affine.of(torch.ones(1)))


@pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan])
def test_what_cannot_be_quantized_gives_a_row_of_nan(value: float) -> None:
    x = torch.randn(3, 16)
    expected = kernels.w1a8(x, WEIGHT, ONES)
    x[1, 15] = value
    found = kernels.w1a8(x, WEIGHT, ONES)
    assert found[1].isnan().all()
    assert torch.equal(found[::2], expected[::2])


floats = st.floats(-100, 100, width=32).map(lambda value: round(value, 2))


@settings(max_examples=60, deadline=None)
@given(scale=floats, bias=floats, k=st.integers(0, 300), wrap=st.booleans())
def test_thresholds_decide_as_the_float_expression_does(
    scale: float, bias: float, k: int, wrap: bool
) -> None:
    sums = torch.arange(-128, 128) if wrap else torch.arange(-k, k + 1)
    fold = Thresholds.of(torch.tensor([scale]), torch.tensor([bias]), k, wrap=wrap)
    decided = (sums >= fold.threshold) != unpack_bits(fold.flip, (1,))
    assert torch.equal(decided, sums.float() * torch.tensor(scale) + torch.tensor(bias) >= 0)


def test_steps_keep_their_own_copies() -> None:
    scale = torch.ones(2)
    affine = Affine.of(scale)
    scale.zero_()
    weight = Panels.lay_out(pack_signs(torch.ones(2, 3)), 3)
    assert kernels.w1a1_affine(pack_signs(torch.ones(1, 3)), weight, affine).tolist() == [[3.0, 3.0]]
