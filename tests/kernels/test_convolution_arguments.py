"""Arguments that convolutions refuse."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from proxconnect import kernels
from proxconnect.errors import ProxConnectError
from proxconnect.kernels import Affine, ConvPanels, Geometry, Thresholds, pack_pixels

BITS = torch.zeros(2, 9, dtype=torch.uint8)
WEIGHT = ConvPanels.lay_out(BITS, (2, 8, 3, 3))
A = torch.zeros(1, 4, 4, 1, dtype=torch.uint8)
X = torch.ones(1, 8, 4, 4)

PLAIN = Geometry()
ONES = Affine.of(torch.ones(2))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ConvPanels.lay_out(BITS, (2, 8, 3)), "not the shape of a 2d convolution's weight"),  # type: ignore[arg-type]
        (lambda: ConvPanels.lay_out(BITS, (2, 0, 3, 3)), "not the shape of a 2d convolution's weight"),
        (
            lambda: ConvPanels.lay_out(BITS, (2, 8, 3, 3), groups=3),
            "groups is 3; expected a divisor of the 2 outputs",
        ),
        (lambda: ConvPanels.lay_out(BITS, (3, 8, 3, 3)), "bits has 2 rows; expected 3"),
        (lambda: ConvPanels.lay_out(BITS, (2, 9, 3, 3)), "rows of 9 bytes.*expected 11 bytes"),
        (lambda: ConvPanels.lay_out(BITS.int(), (2, 8, 3, 3)), "bits is a torch.int32 tensor"),
        (lambda: ConvPanels.lay_out(~BITS[:, :8], (2, 7, 3, 3)), "padding bits set after the 63 signs"),
        (lambda: Geometry(stride=(0, 1)), r"stride is \(0, 1\).*at least 1"),
        (lambda: Geometry(padding=(0, -1)), r"padding is \(0, -1\).*at least 0"),
        (lambda: Geometry(dilation=2), "dilation is 2; expected a pair"),  # type: ignore[arg-type]
        (lambda: Geometry(fill=2), r"fill is 2; expected 0, \+1 or -1"),
        (lambda: kernels.w1a1_conv_sums(A[0], WEIGHT, PLAIN), "expected torch.uint8 with 4 dimensions"),
        (lambda: kernels.w1a1_conv_sums(A.float(), WEIGHT, PLAIN), "a is a torch.float32.*torch.uint8"),
        (lambda: kernels.w1a1_conv_sums(A.to("meta"), WEIGHT, PLAIN), "on meta.*on cpu"),
        (lambda: kernels.w1a1_conv_sums(A[:, :2], WEIGHT, PLAIN), r"does not fit into an image of \(2, 4\)"),
        (
            lambda: kernels.w1a1_conv_sums(A.expand(1, 4, 4, 2), WEIGHT, PLAIN),
            "pixels of 2 bytes, which do not hold 8 channels",
        ),
        (
            lambda: kernels.w1a1_conv_sums(~A, ConvPanels.lay_out(BITS[:, :1], (2, 7, 1, 1)), PLAIN),
            "a has padding bits set after the 7 signs",
        ),
        (
            lambda: kernels.w1a1_conv_signs(
                A, WEIGHT, PLAIN, Thresholds.of(torch.ones(3), torch.ones(3), 72)
            ),
            "thresholds has 3 outputs; expected 2",
        ),
        (lambda: pack_pixels(torch.ones(2, 3, 4)), "expected torch.float32 with 4 dimensions"),
        (lambda: pack_pixels(torch.ones(1, 2, 3, 4).double()), "torch.float64.*expected torch.float32"),
        (lambda: pack_pixels(torch.ones(1, 2, 3, 4, device="meta")), "on meta.*on cpu"),
    ],
)
def test_bad_arguments_are_refused_by_name(call: object, words: str) -> None:
    assert callable(call)
    with pytest.raises(ProxConnectError, match=words):
        call()


@pytest.mark.parametrize("convolve", [kernels.w1a8_conv, kernels.w1a32_conv])
@pytest.mark.parametrize(
    ("x", "geometry", "words"),
    [
        (X.double(), PLAIN, "x is a torch.float64.*expected torch.float32"),
        (X[0], PLAIN, "expected torch.float32 with 4 dimensions"),
        (X[0], PLAIN, r"shape \(8, 4, 4\).*\(images, 8, height, width\)"),
        (X.to("meta"), PLAIN, "on meta.*on cpu"),
        (X[:, :3], PLAIN, "x has 3 channels; expected 8"),
        (X[:, :3], PLAIN, r"\(1, 3, 4, 4\).*\(images, 8,"),
        (X[..., :2], PLAIN, "does not fit into an image"),
        (X, Geometry(fill=1), "fill is 1; expected 0.* fill 0"),
    ],
)
def test_floats_that_are_not_images_of_the_weight_are_refused(
    convolve: Callable[..., Tensor], x: Tensor, geometry: Geometry, words: str
) -> None:
    with pytest.raises(ProxConnectError, match=words):
        convolve(x, WEIGHT, geometry, ONES)


@pytest.mark.parametrize(
    ("convolve", "x"), [(kernels.w1a1_conv_affine, A), (kernels.w1a8_conv, X), (kernels.w1a32_conv, X)]
)
@pytest.mark.parametrize(
    ("affine", "residual", "words"),
    [
        (Affine.of(torch.ones(3)), None, "affine has 3 outputs; expected 2"),
        (Affine.of(torch.ones(2, 2), group=32), None, "scales for groups of inputs; this kernel takes none"),
        (
            ONES,
            torch.ones(1, 2, 2, 3),
            r"residual has shape \(1, 2, 2, 3\); expected \(1, 2, 2, 2\), that of the output",
        ),
        (ONES, torch.ones(4, 2), "residual is a torch.float32 tensor of shape.*4 dimensions"),
        (ONES, torch.ones(1, 2, 2, 2).int(), "residual is a torch.int32"),
        (ONES, torch.ones(1, 2, 2, 2).transpose(1, 3), "residual is not contiguous"),
    ],
)
def test_affine_and_residual_are_those_of_the_output(
    convolve: Callable[..., Tensor], x: Tensor, affine: Affine, residual: Tensor | None, words: str
) -> None:
    with pytest.raises(ProxConnectError, match=words):
        convolve(x, WEIGHT, PLAIN, affine, residual)


def test_more_inputs_than_8_bit_sums_hold_are_refused() -> None:
    k = 2**24 + 8
    weight = ConvPanels.lay_out(torch.zeros(1, k // 8, dtype=torch.uint8), (1, k, 1, 1))
    with pytest.raises(ProxConnectError, match=r"k is 16777224; expected at most 2\*\*24"):
        kernels.w1a8_conv(torch.zeros(0, k, 1, 1), weight, PLAIN, Affine.of(torch.ones(1)))


def test_an_infinity_stays_in_its_image() -> None:
    bad = torch.ones(2, 8, 3, 3)
    good = bad.clone()
    bad[1, 0, 0, 0] = torch.inf
    outputs = kernels.w1a8_conv(bad, WEIGHT, PLAIN, ONES)
    assert outputs[1].isnan().all()
    assert torch.equal(outputs[0], kernels.w1a8_conv(good, WEIGHT, PLAIN, ONES)[0])
