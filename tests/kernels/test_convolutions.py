"""Every convolution against its formula, written out in numpy, on every kernel set that runs here."""

from __future__ import annotations

import kernel_reference
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_reference import Array, finished, same, sign
from looking import every
from torch import Tensor

from proxconnect import kernels
from proxconnect.format.bits import pack_bits, packed_width
from proxconnect.kernels import Affine, ConvPanels, Geometry, Thresholds, pack_pixels, pack_signs

pytestmark = pytest.mark.usefixtures("every_kernel_set")

drawn = settings(max_examples=30, deadline=None)
pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
layouts = st.sampled_from(["contiguous", "channels_last", "strided", "turned"])
thread_counts = st.integers(1, 3)


class Case:
    """Random operands of a convolution; ``plain`` leaves residual and PReLU away."""

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
        *,
        plain: bool = False,
    ) -> None:
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator)

        self.geometry, self.groups = geometry, groups
        self.shape = images, *geometry.output_size(size, kernel), n
        self.x, weight = normal(images, channels, *size), normal(n, channels // groups, *kernel)
        self.a, self.weight = pack_pixels(self.x), panels(weight, groups)
        self.pixels, self.w = np.moveaxis(self.x.numpy(), 1, -1), sign(weight.numpy())
        self.scale, self.bias = normal(n), normal(n)
        self.residual = None if plain else normal(*self.shape)
        self.affine = Affine.of(
            self.scale, self.bias, None if plain else normal(n) * (torch.arange(n) % 3 > 0)
        )

    def sums(self, *, wrap: bool = False) -> Array:
        """Return the sums of the products of signs."""
        operands = sign(self.pixels), self.w, self.groups, self.geometry
        return kernel_reference.w1a1_conv(*operands, wrap=wrap).reshape(self.shape)

    def bits(self, *, wrap: bool = False) -> Tensor:
        """Return the signs of these sums after scale and bias."""
        y = torch.from_numpy(self.sums(wrap=wrap)).float() * self.scale + self.bias
        return pack_bits(y.flatten(0, 2)).view(*self.shape[:3], packed_width(self.shape[3]))

    def finished(self, y: Array) -> Array:
        return finished(y.reshape(self.shape), self.affine.bias, self.residual, self.affine.slope)


def panels(weight: Tensor, groups: int = 1) -> ConvPanels:
    return ConvPanels.lay_out(pack_signs(weight.flatten(1)), tuple(weight.shape), groups)


def laid_out(x: Tensor, layout: str) -> Tensor:
    """Copy images to another memory format."""
    if layout == "channels_last":
        return x.contiguous(memory_format=torch.channels_last)
    if layout == "turned":
        return x.transpose(2, 3).contiguous().transpose(2, 3)
    if layout == "strided":
        images, channels, height, width = x.shape
        wide = torch.full((images, channels + 1, height, 2 * width), torch.nan)
        wide[:, 1:, :, ::2] = x
        return wide[:, 1:, :, ::2]
    return x


@st.composite
def cases(draw: st.DrawFn, fills: tuple[int, ...] = (0,)) -> Case:
    kernel, stride, dilation = draw(pairs), draw(pairs), draw(pairs)
    padding = draw(st.tuples(st.integers(0, 4), st.integers(0, 4)))
    size = draw(st.tuples(st.integers(1, 9), st.integers(1, 19)))
    height, width = (max(size[i], dilation[i] * (kernel[i] - 1) + 1 - 2 * padding[i]) for i in range(2))
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    channels = groups * draw(st.sampled_from([1, 2, 3, 5, 8, 13, 16, 31, 32, 33, 64, 100]))
    n = groups * draw(st.sampled_from([1, 3, 8, 15, 16, 17, 24, 40]))
    geometry = Geometry(stride, padding, dilation, draw(st.sampled_from(fills)))
    images, seed, plain = draw(st.integers(0, 2)), draw(st.integers(0, 2**31)), draw(st.booleans())
    return Case(images, channels, (height, width), n, kernel, geometry, groups, seed, plain=plain)


cases_of_signs = cases(fills=(0, 1, -1))


@drawn
@given(cases_of_signs, st.booleans())
def test_w1a1_sums(case: Case, wrap: bool) -> None:
    result = kernels.w1a1_conv_sums(case.a, case.weight, case.geometry, wrap=wrap)
    assert same(result, case.sums(wrap=wrap))


@drawn
@given(cases_of_signs, st.booleans())
def test_w1a1_affine(case: Case, wrap: bool) -> None:
    result = kernels.w1a1_conv_affine(
        case.a, case.weight, case.geometry, case.affine, case.residual, wrap=wrap
    )
    assert same(result, case.finished(case.sums(wrap=wrap).astype(np.float32) * case.scale.numpy()))


@drawn
@given(cases_of_signs, st.booleans())
def test_w1a1_signs(case: Case, wrap: bool) -> None:
    thresholds = Thresholds.of(case.scale, case.bias, case.weight.k, wrap=wrap)
    result = kernels.w1a1_conv_signs(case.a, case.weight, case.geometry, thresholds, wrap=wrap)
    assert torch.equal(result, case.bits(wrap=wrap))


@drawn
@given(cases(), layouts, thread_counts)
def test_w1a8(case: Case, layout: str, threads: int) -> None:
    torch.set_num_threads(threads)
    x = laid_out(case.x, layout)
    result = kernels.w1a8_conv(x, case.weight, case.geometry, case.affine, case.residual)
    operands = case.pixels, case.w, case.scale.numpy(), case.groups, case.geometry
    assert same(result, case.finished(kernel_reference.w1a8_conv(*operands)))


@drawn
@given(cases(), layouts, thread_counts)
def test_w1a32(case: Case, layout: str, threads: int) -> None:
    torch.set_num_threads(threads)
    x = laid_out(case.x, layout)
    result = kernels.w1a32_conv(x, case.weight, case.geometry, case.affine, case.residual)
    y = kernel_reference.w1a32_conv(case.pixels, case.w, case.groups, case.geometry)
    assert same(result, case.finished(y * case.scale.numpy()))


@pytest.mark.parametrize("fill", [0, 1, -1])
def test_every_channel_a_group_of_its_own(fill: int) -> None:
    case = Case(2, 37, (6, 5), 74, (3, 3), Geometry(padding=(1, 1), fill=fill), groups=37)
    assert same(kernels.w1a1_conv_sums(case.a, case.weight, case.geometry), case.sums())
    thresholds = Thresholds.of(case.scale, case.bias, case.weight.k)
    assert torch.equal(kernels.w1a1_conv_signs(case.a, case.weight, case.geometry, thresholds), case.bits())


def test_fill_0_is_the_zero_padding_of_torch() -> None:
    geometry = Geometry(stride=(2, 1), padding=(2, 1), dilation=(1, 2))
    case = Case(2, 12, (9, 8), 20, (3, 2), geometry, groups=4)
    w = torch.from_numpy(case.w)
    expected = F.conv2d(case.x.sign(), w, None, (2, 1), (2, 1), (1, 2), groups=4).permute(0, 2, 3, 1)
    assert torch.equal(kernels.w1a1_conv_sums(case.a, case.weight, geometry).float(), expected)


@pytest.mark.parametrize(("channels", "outputs", "groups"), [(20, 20, 20), (6, 1100, 1)])
def test_w1a32_of_depthwise_and_of_more_outputs_than_are_summed_at_a_time(
    channels: int, outputs: int, groups: int
) -> None:
    case = Case(1, channels, (9, 9), outputs, (3, 3), Geometry(padding=(1, 1)), groups)
    result = kernels.w1a32_conv(case.x, case.weight, case.geometry, Affine.of(torch.ones(outputs)))
    exact = F.conv2d(case.x.double(), torch.from_numpy(case.w).double(), padding=1, groups=groups)
    torch.testing.assert_close(result.permute(0, 3, 1, 2).double(), exact, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("size", "channels"), [(14, 256), (7, 512)])
def test_w1a32_is_nearer_the_truth_than_a_float32_convolution(size: int, channels: int) -> None:
    case = Case(1, channels, (size, size), 32, (3, 3), Geometry(padding=(1, 1)), seed=channels)
    weight = torch.from_numpy(case.w)
    exact = F.conv2d(case.x.double(), weight.double(), padding=1)
    ours = kernels.w1a32_conv(case.x, case.weight, case.geometry, Affine.of(torch.ones(32)))
    plain = F.conv2d(case.x, weight, padding=1)
    assert (ours.permute(0, 3, 1, 2) - exact).square().mean() <= (plain - exact).square().mean()


def results(case: Case) -> list[Tensor]:
    thresholds = Thresholds.of(case.scale, case.bias, case.weight.k)
    affine = case.affine, case.residual
    return [
        kernels.w1a1_conv_sums(case.a, case.weight, case.geometry),
        kernels.w1a1_conv_affine(case.a, case.weight, case.geometry, *affine),
        kernels.w1a1_conv_signs(case.a, case.weight, case.geometry, thresholds),
        kernels.w1a8_conv(case.x, case.weight, case.geometry, *affine),
        kernels.w1a32_conv(case.x, case.weight, case.geometry, *affine),
        pack_pixels(case.x),
    ]


@pytest.mark.parametrize(
    ("images", "channels", "size", "n", "groups"),
    [
        (2, 64, (29, 33), 70, 1),
        (2, 256, (7, 7), 260, 1),
        (5, 48, (20, 20), 96, 3),
        (1, 32, (28, 28), 72, 1),
        (1, 200, (6, 6), 72, 1),
    ],
)
def test_results_do_not_depend_on_the_number_of_threads(
    images: int, channels: int, size: tuple[int, int], n: int, groups: int
) -> None:
    case = Case(images, channels, size, n, (3, 3), Geometry(padding=(1, 1)), groups)
    torch.set_num_threads(1)
    alone = results(case)
    for threads in (2, 3, 7):
        torch.set_num_threads(threads)
        assert every(torch.equal(a, b) for a, b in zip(results(case), alone, strict=True))


@drawn
@given(
    st.integers(0, 2),
    st.one_of(st.integers(1, 40), st.sampled_from([63, 64, 65])),
    st.tuples(st.integers(0, 9), st.integers(0, 9)),
    layouts,
)
def test_pixels_are_packed_however_they_lie(
    images: int, channels: int, size: tuple[int, int], layout: str
) -> None:
    x = torch.randn(images, channels, *size, generator=torch.Generator().manual_seed(channels))
    x[x.abs() < 0.1] = -0.0
    expected = pack_bits(x.permute(0, 2, 3, 1).flatten(0, 2)).view(images, *size, packed_width(channels))
    assert torch.equal(pack_pixels(laid_out(x, layout)), expected)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_the_sign_of_a_nan_is_that_of_zero(layout: str) -> None:
    x = torch.randn(2, 40, 5, 7)
    bad, zeros = (x.clone().index_fill_(1, torch.tensor([0, 39]), value) for value in (-torch.nan, 0.0))
    assert torch.equal(pack_pixels(laid_out(bad, layout)), pack_pixels(laid_out(zeros, layout)))


@pytest.mark.parametrize("value", [0.0, -1e-42])
def test_images_too_small_to_quantize_are_zero(value: float) -> None:
    x, weight = torch.full((1, 4, 3, 3), value), panels(torch.ones(2, 4, 3, 3))
    assert not kernels.w1a8_conv(x, weight, Geometry(), Affine.of(torch.ones(2))).any()


def test_images_of_signs_may_lie_apart_and_anywhere() -> None:
    case = Case(3, 20, (5, 6), 9, (3, 3), Geometry(padding=(1, 1)))
    wide = torch.full((3, 7, 6, 10), 255, dtype=torch.uint8)
    wide[:, 1:6, :, 5:8] = case.a
    assert same(kernels.w1a1_conv_sums(wide[:, 1:6, :, 5:8], case.weight, case.geometry), case.sums())


def test_no_images_make_no_output() -> None:
    case = Case(0, 20, (5, 6), 9, (3, 3), Geometry())
    assert kernels.w1a1_conv_sums(case.a, case.weight, case.geometry).shape == (0, 3, 4, 9)


def test_memory_that_cannot_be_had_is_an_error() -> None:
    apart = 2**20 - 1
    x, weight = torch.zeros(()).expand(1, 1, apart + 1, apart + 1), panels(torch.ones(1, 1, 2, 2))
    with pytest.raises(MemoryError):
        kernels.w1a32_conv(x, weight, Geometry(dilation=(apart, apart)), Affine.of(torch.ones(1)))


def test_a_packed_weight_is_laid_out_tap_by_tap() -> None:
    w = torch.randn(3, 33, 1, 2)
    signs = pack_signs(w.permute(0, 2, 3, 1).reshape(6, 33))
    words = panels(w).words.view(2, 2, 16)[..., :3].permute(2, 0, 1).contiguous().view(torch.uint8)
    assert torch.equal(words.view(6, 8)[:, :5], signs)
