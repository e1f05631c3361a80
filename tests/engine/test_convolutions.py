"""Every convolution against its formula, written out in numpy, on every kernel set that runs here."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from proxconnect.engine import kernels
from proxconnect.engine.kernels import Affine, ConvPanels, Geometry, Thresholds, pack_pixels, pack_signs
from proxconnect.errors import ProxConnectError
from proxconnect.format.bits import pack_bits, packed_width

Array = np.ndarray

drawn = settings(max_examples=30, deadline=None)


@pytest.fixture(params=kernels.kernel_sets(), autouse=True, scope="module")
def every_kernel_set(request: pytest.FixtureRequest) -> Iterator[None]:
    before = kernels.active_kernels()
    kernels.use_kernels(request.param)
    yield
    kernels.use_kernels(before)


@pytest.fixture(autouse=True)
def restored_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def sums_reference(a: Array, w: Array, geometry: Geometry, groups: int) -> Array:
    """a (N, C, H, W), w (out, in / groups, kh, kw), both of -1 and +1."""
    (sy, sx), (py, px), (dy, dx) = geometry.stride, geometry.padding, geometry.dilation
    padded = np.pad(a, ((0, 0), (0, 0), (py, py), (px, px)), constant_values=geometry.fill)
    height, width = geometry.output_size(a.shape[2:], w.shape[2:])
    sums = np.zeros((len(a), height, width, len(w)), np.int32)
    for j, u, v in product(range(len(w)), range(w.shape[2]), range(w.shape[3])):
        first = j // (len(w) // groups) * w.shape[1]
        pixels = padded[:, first : first + w.shape[1], u * dy :, v * dx :]
        pixels = pixels[:, :, : (height - 1) * sy + 1 : sy, : (width - 1) * sx + 1 : sx]
        sums[..., j] += np.einsum("nchw,c->nhw", pixels, w[j, :, u, v])
    return sums


class Case:
    """Random operands of a convolution."""

    def __init__(
        self,
        images: int,
        channels: int,
        size: tuple[int, int],
        n: int,
        kernel: tuple[int, int],
        geometry: Geometry,
        groups: int = 1,
        seed: int = 0,
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.geometry, self.groups = geometry, groups
        self.x = torch.randn(images, channels, *size, generator=generator)
        self.w = torch.randn(n, channels // groups, *kernel, generator=generator)
        self.a = pack_pixels(self.x)
        self.weight = ConvPanels(pack_bits(self.w), tuple(self.w.shape), groups)
        signs, weights = (torch.where(t >= 0, 1, -1).int().numpy() for t in (self.x, self.w))
        self.sums = sums_reference(signs, weights, geometry, groups)
        self.scale, self.bias = torch.randn(n, generator=generator), torch.randn(n, generator=generator)
        self.residual = torch.randn(self.sums.shape, generator=generator)
        self.slope = torch.randn(n, generator=generator)

    def expected(self, wrap: bool) -> Tensor:
        return torch.from_numpy((self.sums + 128) % 256 - 128 if wrap else self.sums)


pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    kernel, stride, dilation = draw(pairs), draw(pairs), draw(pairs)
    padding = draw(st.tuples(st.integers(0, 4), st.integers(0, 4)))
    size = tuple(
        max(draw(st.integers(1, 13)), dilation[i] * (kernel[i] - 1) + 1 - 2 * padding[i]) for i in (0, 1)
    )
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    channels = groups * draw(st.sampled_from([1, 2, 3, 8, 13, 16, 32, 33, 64, 100]))
    n = groups * draw(st.sampled_from([1, 3, 8, 15, 16, 17, 24, 40]))
    geometry = Geometry(stride, padding, dilation, draw(st.sampled_from([0, 1, -1])))
    return Case(
        draw(st.integers(1, 2)), channels, size, n, kernel, geometry, groups, draw(st.integers(0, 2**31))
    )


@drawn
@given(cases(), st.booleans())
def test_sums(case: Case, wrap: bool) -> None:
    result = kernels.w1a1_conv_sums(case.a, case.weight, case.geometry, wrap=wrap)
    assert result.dtype == torch.int32
    assert torch.equal(result, case.expected(wrap))


@drawn
@given(cases(), st.booleans(), st.booleans())
def test_affine(case: Case, wrap: bool, plain: bool) -> None:
    affine = Affine(case.scale, case.bias, None if plain else case.slope)
    residual = None if plain else case.residual
    result = kernels.w1a1_conv_affine(case.a, case.weight, case.geometry, affine, residual, wrap=wrap)
    expected = case.expected(wrap).float() * case.scale + case.bias
    if not plain:
        expected += case.residual
        expected = torch.where(expected < 0, expected * case.slope, expected)
    assert torch.equal(result, expected)


@drawn
@given(cases(), st.booleans())
def test_signs(case: Case, wrap: bool) -> None:
    thresholds = Thresholds(case.scale, case.bias, case.weight.k, wrap=wrap)
    result = kernels.w1a1_conv_signs(case.a, case.weight, case.geometry, thresholds, wrap=wrap)
    expected = case.expected(wrap).float() * case.scale + case.bias
    assert torch.equal(result, pack_bits(expected.flatten(0, 2)).view(result.shape))


@pytest.mark.parametrize("fill", [0, 1, -1])
def test_every_channel_a_group_of_its_own(fill: int) -> None:
    case = Case(2, 37, (6, 5), 74, (3, 3), Geometry(padding=(1, 1), fill=fill), groups=37)
    assert torch.equal(kernels.w1a1_conv_sums(case.a, case.weight, case.geometry), case.expected(False))
    thresholds = Thresholds(case.scale, case.bias, case.weight.k)
    result = kernels.w1a1_conv_signs(case.a, case.weight, case.geometry, thresholds)
    expected = case.expected(False).float() * case.scale + case.bias
    assert torch.equal(result, pack_bits(expected.flatten(0, 2)).view(result.shape))


def test_fill_0_is_the_zero_padding_of_torch() -> None:
    geometry = Geometry(stride=(2, 1), padding=(2, 1), dilation=(1, 2))
    case = Case(2, 12, (9, 8), 20, (3, 2), geometry, groups=4)
    expected = torch.nn.functional.conv2d(
        case.x.sign(), case.w.sign(), None, (2, 1), (2, 1), (1, 2), groups=4
    ).permute(0, 2, 3, 1)
    assert torch.equal(kernels.w1a1_conv_sums(case.a, case.weight, geometry).float(), expected)


@pytest.mark.parametrize(
    ("channels", "size", "n", "groups"), [(64, (29, 33), 70, 1), (256, (7, 7), 260, 1), (48, (20, 20), 96, 3)]
)
def test_results_do_not_depend_on_the_number_of_threads(
    channels: int, size: tuple[int, int], n: int, groups: int
) -> None:
    case = Case(2, channels, size, n, (3, 3), Geometry(padding=(1, 1)), groups)
    affine, thresholds = Affine(case.scale, case.bias), Thresholds(case.scale, case.bias, case.weight.k)

    def results() -> list[Tensor]:
        return [
            pack_pixels(case.x),
            kernels.w1a1_conv_sums(case.a, case.weight, case.geometry),
            kernels.w1a1_conv_affine(case.a, case.weight, case.geometry, affine, case.residual),
            kernels.w1a1_conv_signs(case.a, case.weight, case.geometry, thresholds),
        ]

    torch.set_num_threads(1)
    alone = results()
    assert torch.equal(alone[1], case.expected(False))
    for threads in (2, 3):
        torch.set_num_threads(threads)
        assert all(torch.equal(a, b) for a, b in zip(results(), alone, strict=True))


@drawn
@given(
    st.integers(0, 2),
    st.one_of(st.integers(1, 40), st.sampled_from([63, 64, 65])),
    st.tuples(st.integers(0, 9), st.integers(0, 9)),
    st.sampled_from(["contiguous", "channels_last", "strided", "turned"]),
)
def test_pixels_are_packed_however_they_lie(
    images: int, channels: int, size: tuple[int, int], form: str
) -> None:
    generator = torch.Generator().manual_seed(channels)
    x = torch.randn(images, channels, *size, generator=generator)
    x[x.abs() < 0.1] = -0.0
    expected = pack_bits(x.permute(0, 2, 3, 1).flatten(0, 2)).view(images, *size, packed_width(channels))
    if form == "channels_last":
        x = x.contiguous(memory_format=torch.channels_last)
    elif form == "strided":
        wide = torch.full((images, channels + 1, size[0], 2 * size[1]), torch.nan)
        wide[:, 1:, :, ::2] = x
        x = wide[:, 1:, :, ::2]
    elif form == "turned":
        x = x.transpose(2, 3).contiguous().transpose(2, 3)
    assert torch.equal(pack_pixels(x), expected)


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_nan_is_refused(channels_last: bool) -> None:
    x = torch.randn(2, 40, 5, 7)
    x[1, 39, 4, 6] = torch.nan
    with pytest.raises(ProxConnectError, match="cannot pack: NaN at"):
        pack_pixels(x.contiguous(memory_format=torch.channels_last) if channels_last else x)


def test_images_may_lie_apart_and_anywhere() -> None:
    case = Case(3, 20, (5, 6), 9, (3, 3), Geometry(padding=(1, 1)))
    wide = torch.full((3, 7, 6, 10), 255, dtype=torch.uint8)
    wide[:, 1:6, :, 5:8] = case.a
    result = kernels.w1a1_conv_sums(wide[:, 1:6, :, 5:8], case.weight, case.geometry)
    assert torch.equal(result, case.expected(False))


def test_no_images_make_no_output() -> None:
    case = Case(0, 20, (5, 6), 9, (3, 3), Geometry())
    assert kernels.w1a1_conv_sums(case.a, case.weight, case.geometry).shape == (0, 3, 4, 9)


BITS = torch.zeros(2, 9, dtype=torch.uint8)
WEIGHT = ConvPanels(BITS, (2, 8, 3, 3))
A = torch.zeros(1, 4, 4, 1, dtype=torch.uint8)
PLAIN = Geometry()
ONES = Affine(torch.ones(2))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ConvPanels(BITS, (2, 8, 3)), "not the shape of a 2d convolution's weight"),  # type: ignore[arg-type]
        (lambda: ConvPanels(BITS, (2, 0, 3, 3)), "not the shape of a 2d convolution's weight"),
        (
            lambda: ConvPanels(BITS, (2, 8, 3, 3), groups=3),
            "groups is 3; expected a divisor of the 2 outputs",
        ),
        (lambda: ConvPanels(BITS, (3, 8, 3, 3)), "bits has 2 rows; expected 3"),
        (lambda: ConvPanels(BITS, (2, 9, 3, 3)), "rows of 9 bytes.*expected 11 bytes"),
        (lambda: ConvPanels(BITS.int(), (2, 8, 3, 3)), "bits is a torch.int32 tensor"),
        (lambda: ConvPanels(~BITS[:, :8], (2, 7, 3, 3)), "padding bits set after the 63 signs"),
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
            lambda: kernels.w1a1_conv_sums(~A, ConvPanels(BITS[:, :1], (2, 7, 1, 1)), PLAIN),
            "a has padding bits set after the 7 signs",
        ),
        (
            lambda: kernels.w1a1_conv_affine(A, WEIGHT, PLAIN, Affine(torch.ones(3))),
            "affine has 3 outputs; expected 2",
        ),
        (
            lambda: kernels.w1a1_conv_affine(A, WEIGHT, PLAIN, ONES, torch.ones(1, 2, 2, 3)),
            r"residual has shape \(1, 2, 2, 3\); expected \(1, 2, 2, 2\)",
        ),
        (
            lambda: kernels.w1a1_conv_affine(A, WEIGHT, PLAIN, ONES, torch.ones(4, 2)),
            "residual is a torch.float32 tensor of shape.*4 dimensions",
        ),
        (
            lambda: kernels.w1a1_conv_signs(A, WEIGHT, PLAIN, Thresholds(torch.ones(3), torch.ones(3), 72)),
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


def test_a_packed_weight_is_laid_out_tap_by_tap() -> None:
    case = Case(1, 33, (1, 1), 3, (1, 2), Geometry(padding=(0, 1)))
    signs = pack_signs(case.w.permute(0, 2, 3, 1).reshape(6, 33))
    words = case.weight.words.view(2, 2, 16)[..., :3].permute(2, 0, 1).contiguous().view(torch.uint8)
    assert torch.equal(words.view(6, 8)[:, :5], signs)
