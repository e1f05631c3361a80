"""Sizes that no image has are refused before anything is computed from them or allocated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import proxconnect as pc
from proxconnect import _native, kernels
from proxconnect.kernels import Affine, Chain, ConvPanels, Geometry, Thresholds, pack_pixels, pack_signs

CHANNELS, OUTPUTS, SIZE = 3, 2, 4
IMAGES = torch.linspace(-1, 1, CHANNELS * SIZE * SIZE).reshape(1, CHANNELS, SIZE, SIZE)
SIGNS = torch.where(IMAGES >= 0, 1.0, -1.0)


def weight(taps: int) -> tuple[Tensor, ConvPanels]:
    shape = (OUTPUTS, CHANNELS, taps, taps)
    signs = torch.where(torch.arange(torch.Size(shape).numel()).reshape(shape) % 3 == 0, 1.0, -1.0)
    return signs, ConvPanels.lay_out(pack_signs(signs.flatten(1)), shape)


def thresholds(panels: ConvPanels) -> Thresholds:
    return Thresholds.of(torch.ones(OUTPUTS), torch.zeros(OUTPUTS), k=panels.k)


CONVOLUTIONS: dict[str, Callable[[ConvPanels, Geometry], object]] = {
    "w1a1_conv_sums": lambda panels, at: kernels.w1a1_conv_sums(pack_pixels(IMAGES), panels, at),
    "w1a1_conv_affine": lambda panels, at: kernels.w1a1_conv_affine(
        pack_pixels(IMAGES), panels, at, Affine.of(torch.ones(OUTPUTS))
    ),
    "w1a1_conv_signs": lambda panels, at: kernels.w1a1_conv_signs(
        pack_pixels(IMAGES), panels, at, thresholds(panels)
    ),
    "w1a1_conv_chain": lambda panels, at: kernels.w1a1_conv_chain(
        pack_pixels(IMAGES), panels, at, Chain.of([], OUTPUTS, signs=True)
    ),
    "w1a8_conv": lambda panels, at: kernels.w1a8_conv(IMAGES, panels, at, Affine.of(torch.ones(OUTPUTS))),
    "w1a32_conv": lambda panels, at: kernels.w1a32_conv(IMAGES, panels, at, Affine.of(torch.ones(OUTPUTS))),
}
MOST = 2**31 - 1


@pytest.mark.parametrize("name", ["stride", "padding", "dilation"])
@pytest.mark.parametrize("value", [2**31, 2**63, 2**80])
def test_a_geometry_is_bounded(name: str, value: int) -> None:
    with pytest.raises(pc.ProxConnectError, match=f"{name} is .* below 2\\*\\*31"):
        Geometry(**{name: (1, value)})


@pytest.mark.parametrize("convolution", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
@pytest.mark.parametrize(
    ("taps", "padding", "dilation"),
    [(3, MOST, MOST), (3, 2**30, 2**30), (2, 2**20, 2**21), (2, 20_000, 40_000)],
)
def test_padding_far_beyond_the_image_is_refused(
    convolution: Callable[[ConvPanels, Geometry], object], taps: int, padding: int, dilation: int
) -> None:
    geometry = Geometry(padding=(padding, padding), dilation=(dilation, dilation))
    assert max(geometry.output_size((SIZE, SIZE), (taps, taps))) <= SIZE
    with pytest.raises(pc.ProxConnectError, match=r"working memory|product"):
        convolution(weight(taps)[1], geometry)


@pytest.mark.parametrize("convolution", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_an_output_that_has_no_addresses_is_refused(
    convolution: Callable[[ConvPanels, Geometry], object],
) -> None:
    with pytest.raises(pc.ProxConnectError, match=r"the output of shape .* use less padding"):
        convolution(weight(1)[1], Geometry(padding=(2**24, 2**24)))


def slow_convolution(images: Tensor, signs: Tensor, geometry: Geometry) -> Tensor:
    """Output by output, reading what lies within the image alone."""
    taps = signs.shape[-1]
    sizes = geometry.output_size((SIZE, SIZE), (taps, taps))
    out = torch.zeros(1, *sizes, OUTPUTS)
    for y in range(sizes[0]):
        for x in range(sizes[1]):
            for v in range(taps):
                for u in range(taps):
                    row = y * geometry.stride[0] + v * geometry.dilation[0] - geometry.padding[0]
                    column = x * geometry.stride[1] + u * geometry.dilation[1] - geometry.padding[1]
                    if 0 <= row < SIZE and 0 <= column < SIZE:
                        out[0, y, x] += signs[:, :, v, u] @ images[0, :, row, column]
    return out


@st.composite
def far_geometries(draw: st.DrawFn) -> Geometry:
    """Draw paddings and dilations of any size that leave few outputs, and strides of any size."""

    def axis() -> tuple[int, int, int]:
        padding = int(2 ** draw(st.floats(0, 29)))
        rest = draw(st.integers(0, SIZE))
        return int(2 ** draw(st.floats(0, 29))), padding, SIZE + 2 * padding - 1 - rest

    y, x = axis(), axis()
    return Geometry(stride=(y[0], x[0]), padding=(y[1], x[1]), dilation=(y[2], x[2]))


@settings(max_examples=30, deadline=None)
@given(far_geometries())
def test_what_is_not_refused_is_right(geometry: Geometry) -> None:
    signs, panels = weight(2)
    try:
        sums = kernels.w1a1_conv_sums(pack_pixels(IMAGES), panels, geometry)
        products = kernels.w1a32_conv(IMAGES, panels, geometry, Affine.of(torch.ones(OUTPUTS)))
    except pc.ProxConnectError:
        rows, columns = (2 * (padding + SIZE) for padding in geometry.padding)
        assert rows * columns * 32 > 2**28
        return
    assert torch.equal(sums.float(), slow_convolution(SIGNS, signs, geometry))
    torch.testing.assert_close(products, slow_convolution(IMAGES, signs, geometry))


FLOATS = torch.ones(64)
HERE = FLOATS.data_ptr()
FAR = 2**40
CONV = (HERE, HERE, 2, 3, 2, 2, 1)  # words, tap sums; outputs, inputs, kernel, groups
PLAIN = (1, 1, 0, 0, 1, 1, 0)  # stride, padding, dilation, fill
AFFINE = (0, HERE, HERE, 0)
CHAIN = (HERE, HERE, HERE, 0, HERE, 0)
MAP = (_native.MapKind.identity, 1.0, 1.0, 1.0, 0)
STRIDES = (48, 16, 4, 1)

TOKEN = (HERE, HERE, HERE), (HERE, HERE, 0), (HERE, 8, 8, 8), (HERE, 8, 8, 8)
HOSTILE_CALLS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "pack_signs": (_native.pack_signs, (HERE, FAR, FAR, HERE, 1)),
    "pack_signs, negative": (_native.pack_signs, (HERE, -1, 8, HERE, 1)),
    "pack_planes": (_native.pack_planes, (HERE, FAR, 2, FAR, HERE, 1)),
    "unpack_weights": (_native.unpack_weights, (HERE, 0, HERE, FAR, FAR, 8, HERE, 1)),
    "unpack_weights, no group": (_native.unpack_weights, (HERE, 0, HERE, 1, 8, 0, HERE, 1)),
    "padding_is_clear": (_native.padding_is_clear, ((HERE, 1, -1), 9)),
    "make_panels": (_native.make_panels, ((HERE, 1, FAR), FAR, HERE, 1)),
    "make_panels, planes": (_native.make_panels, ((HERE, 1, 2), 2, HERE, 2**62)),
    "make_conv_panels": (_native.make_conv_panels, ((HERE, 1, 2), (HERE, HERE, 2, 3, FAR, FAR, 1))),
    "make_conv_panels, groups": (_native.make_conv_panels, ((HERE, 1, 2), (HERE, HERE, 2, 3, 2, 2, 0))),
    "w1a1_sums": (_native.w1a1_sums, ((HERE, 1, FAR), (HERE, FAR, 8, 1), False, HERE, 1)),
    "w1a1_sums, planes": (_native.w1a1_sums, ((HERE, 1, 1), (HERE, 1, 8, 2), False, HERE, 1)),
    "w1a1_affine": (_native.w1a1_affine, ((HERE, 1, FAR), (HERE, 8, FAR, 1), False, HERE, AFFINE, 1)),
    "w1a1_signs": (_native.w1a1_signs, ((HERE, 1, 1), (HERE, FAR, FAR, 1), False, HERE, (HERE, HERE), 1)),
    "w1a1_chain": (_native.w1a1_chain, ((HERE, 1, FAR), (HERE, 8, FAR, 1), False, CHAIN, 1)),
    "chain_rows": (_native.chain_rows, ((HERE, 1, FAR), FAR, CHAIN, 1)),
    "w1a8": (_native.w1a8, ((HERE, 1, FAR), (HERE, 8, FAR, 1), (32, False), 127, HERE, AFFINE, 1)),
    "w1a8, planes": (_native.w1a8, ((HERE, 8, 1), (HERE, 1, 8, 3), (32, False), 127, HERE, AFFINE, 1)),
    "w1a8, no planes": (_native.w1a8, ((HERE, 8, 1), (HERE, 1, 8, 0), (32, False), 127, HERE, AFFINE, 1)),
    "w1a8, group": (_native.w1a8, ((HERE, 8, 1), (HERE, 1, 8, 1), (0, False), 127, HERE, AFFINE, 1)),
    "w1a8, greatest": (_native.w1a8, ((HERE, 8, 1), (HERE, 1, 8, 1), (32, False), 0, HERE, AFFINE, 1)),
    "w1a32": (_native.w1a32, ((HERE, 1, FAR), (HERE, FAR, 8, 2), (32, False), HERE, AFFINE, 1)),
    "w1a32, group": (_native.w1a32, ((HERE, 8, 1), (HERE, 1, 8, 1), (48, False), HERE, AFFINE, 1)),
    "w1a32, planes": (_native.w1a32, ((HERE, 8, 1), (HERE, 1, 8, -1), (32, False), HERE, AFFINE, 1)),
    "mean_magnitudes": (_native.mean_magnitudes, (HERE, FAR, FAR, HERE, 1)),
    "settle_means": (_native.settle_means, (HERE, FAR, FAR, HERE)),
    "quantize": (_native.quantize, ((HERE, FAR, FAR, 0, 0, 1), MAP, HERE, 0, 1)),
    "quantize_by_means": (_native.quantize_by_means, ((HERE, FAR, FAR, 0, 0, 1), MAP, HERE, HERE, 0, 1)),
    "scale_gradient": (_native.scale_gradient, ((HERE, -1, 8, 0, 0, 1), MAP, HERE, HERE, 1)),
    "quantize_and_mark": (_native.quantize_and_mark, (HERE, 2**60, MAP, 1.0, HERE, HERE, 1)),
    "scale_marked": (_native.scale_marked, (HERE, -1, 1.0, HERE, HERE, 1)),
    "scale_outputs": (_native.scale_outputs, (HERE, FAR, FAR, HERE, HERE, 1)),
    "attention": (_native.attention, (*[(HERE, 8, 8, 8)] * 3, (FAR, FAR, 2, 2, 2, 2), 1.0, False, HERE, 1)),
    "attention, keys": (_native.attention, (*[(HERE, 8, 8, 8)] * 3, (1, 1, 2, 0, 2, 2), 1.0, False, HERE, 1)),
    "attention, features": (
        _native.attention,
        (*[(HERE, 8, 8, 8)] * 3, (1, 1, 2, 2, 2**20, 2), 1.0, False, HERE, 1),
    ),
    "attention, negative": (
        _native.attention,
        (*[(HERE, 8, 8, 8)] * 3, (1, 1, -1, 2, 2, 2), 1.0, False, HERE, 1),
    ),
    "rms_norm": (_native.rms_norm, (HERE, FAR, FAR, HERE, 1e-6, HERE, 1)),
    "rms_norm, negative": (_native.rms_norm, (HERE, 2, -1, HERE, 1e-6, HERE, 1)),
    "token_attention": (_native.token_attention, (*TOKEN, (FAR, FAR, 2, 2, 2), 1.0, HERE, 1)),
    "token_attention, tokens": (_native.token_attention, (*TOKEN, (1, 1, 1, 0, 2), 1.0, HERE, 1)),
    "token_attention, features": (_native.token_attention, (*TOKEN, (1, 1, 1, 2, 3), 1.0, HERE, 1)),
    "token_attention, negative": (_native.token_attention, (*TOKEN, (1, 1, -1, 2, 2), 1.0, HERE, 1)),
    "activate": (_native.activate, (HERE, 2**60, _native.Activation.gelu, HERE, 1)),
    "activate, negative": (_native.activate, (HERE, -1, _native.Activation.gelu, HERE, 1)),
}


@pytest.mark.parametrize(("function", "arguments"), HOSTILE_CALLS.values(), ids=HOSTILE_CALLS)
def test_every_entry_point_refuses_sizes_whose_products_overflow(
    function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    with pytest.raises(pc.ProxConnectError, match=r"expected|product"):
        function(*arguments)


def test_no_entry_point_that_is_given_sizes_is_left_out() -> None:
    called = {name.partition(",")[0] for name in HOSTILE_CALLS} | set(CONVOLUTIONS)
    without_sizes = {"kernel_sets", "active_kernels", "use_kernels", "cpu_features", "constants_of"}
    functions = {name for name, value in vars(_native).items() if isinstance(value, type(_native.pack_signs))}
    assert functions == called | without_sizes


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize(
    ("geometry", "size"),
    [
        ((0, 1, 0, 0, 1, 1, 0), SIZE),  # no stride
        ((1, -1, 0, 0, 1, 1, 0), SIZE),
        ((1, 1, -1, 0, 1, 1, 0), SIZE),
        ((1, 1, 0, 0, 0, 1, 0), SIZE),
        ((1, 1, 2**62, 0, 2**62, 1, 0), SIZE),
        ((1, 1, 2**40, 0, 2**41, 2**62, 0), SIZE),
        ((2**62, 2**62, 2**31, 2**31, 2**32, 2**32, 0), SIZE),
        (PLAIN, -4),
        (PLAIN, 2**40),
    ],
)
def test_compiled_convolutions_check_their_geometry(name: str, geometry: tuple[int, ...], size: int) -> None:
    signs = name.startswith("w1a1")
    images: tuple[Any, ...] = (HERE, 1, size, size) if signs else (HERE, (1, 3, size, size), STRIDES)
    rest = {
        "w1a1_conv_sums": (False, HERE),
        "w1a1_conv_affine": (False, HERE, AFFINE),
        "w1a1_conv_signs": (False, HERE, (HERE, HERE)),
        "w1a1_conv_chain": (False, CHAIN),
    }.get(name, (HERE, AFFINE))
    with pytest.raises(pc.ProxConnectError, match=r"expected|product"):
        getattr(_native, name)(images, CONV, geometry, *rest, 1)
