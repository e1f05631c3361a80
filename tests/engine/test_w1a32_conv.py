"""Convolutions of float32 against their formula, written out in numpy, on every kernel set that runs here."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from proxconnect.engine import kernels
from proxconnect.engine.kernels import Affine, ConvPanels, Geometry, pack_signs, w1a32_conv
from proxconnect.errors import ProxConnectError

Array = np.ndarray

one_to_three = st.tuples(st.integers(1, 3), st.integers(1, 3))
up_to_two = st.tuples(st.integers(0, 2), st.integers(0, 2))


@pytest.fixture(params=kernels.kernel_sets(), autouse=True, scope="module")
def every_kernel_set(request: pytest.FixtureRequest) -> Iterator[None]:
    before = kernels.active_kernels()
    kernels.use_kernels(request.param)
    yield
    kernels.use_kernels(before)


def signs(*shape: int) -> Tensor:
    return torch.where(torch.randn(shape) >= 0, 1.0, -1.0)


def panels(weight: Tensor, groups: int = 1) -> ConvPanels:
    return ConvPanels(pack_signs(weight.flatten(1)), tuple(weight.shape), groups)


def reference(x: Array, w: Array, at: Geometry, groups: int) -> Array:
    """Sums of fives of channels, tap after tap, by blocks of 32."""
    (n, _, ky, kx), channels = w.shape, w.shape[1]
    x = np.pad(x, ((0, 0), (0, 0), *((p, p) for p in at.padding)))
    out = [(x.shape[2 + i] - at.dilation[i] * (w.shape[2 + i] - 1) - 1) // at.stride[i] + 1 for i in (0, 1)]
    total = np.zeros((len(x), *out, n), np.float32)
    block, count = np.zeros_like(total), 0
    for tap in range(ky * kx):
        y, column = tap // kx * at.dilation[0], tap % kx * at.dilation[1]
        part = x[:, :, y:, column:][:, :, :: at.stride[0], :: at.stride[1]][:, :, : out[0], : out[1]]
        for first in range(0, channels, 5):
            s = np.zeros((5, *total.shape), np.float32)
            for i in range(min(5, channels - first)):
                for j in range(n):
                    channel = j // (n // groups) * channels + first + i
                    s[i, ..., j] = part[:, channel] * w[j, first + i, tap // kx, tap % kx]
            block += ((s[0] + s[1]) + s[2]) + (s[3] + s[4])
            count += 1
            if count % 32 == 0:
                total, block = total + block, np.zeros_like(total)
    return total + block


@settings(max_examples=25, deadline=None)
@given(
    size=st.tuples(st.integers(5, 12), st.integers(5, 20)),
    images=st.integers(0, 2),
    channels=st.sampled_from([1, 3, 5, 11, 33]),
    outputs=st.sampled_from([1, 7, 16, 19]),
    groups=st.sampled_from([1, 1, 3]),
    kernel=one_to_three,
    stride=one_to_three,
    padding=up_to_two,
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    layout=st.sampled_from(["contiguous", "channels_last", "strided"]),
    plain=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_w1a32_conv(
    size: tuple[int, int],
    images: int,
    channels: int,
    outputs: int,
    groups: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    layout: str,
    plain: bool,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    weight = signs(outputs * groups, channels, *kernel)
    x = torch.randn(images, channels * groups, *size)
    at = Geometry(stride, padding, dilation)
    sums = reference(x.numpy(), weight.numpy(), at, groups)
    n = weight.shape[0]
    affine = Affine(torch.randn(n), torch.randn(n), None if plain else torch.randn(n))
    residual = None if plain else torch.randn(sums.shape)
    if layout == "channels_last":
        x = x.contiguous(memory_format=torch.channels_last)
    elif layout == "strided":
        x = torch.stack([x, x.new_full((), np.nan).expand_as(x)], -1).flatten(3)[..., ::2]

    y = sums * affine.scale.numpy() + affine.bias.numpy()
    if residual is not None and affine.slope is not None:
        y = y + residual.numpy()
        y = np.where(y < 0, y * affine.slope.numpy(), y)
    result = w1a32_conv(x, panels(weight, groups), at, affine, residual)
    assert result.dtype == torch.float32
    assert np.array_equal(result.numpy(), y)


def test_depthwise_and_more_outputs_than_are_summed_at_a_time() -> None:
    for channels, outputs, groups in ((20, 20, 20), (6, 1100, 1)):
        x, weight = torch.randn(1, channels, 9, 9), signs(outputs, channels // groups, 3, 3)
        result = w1a32_conv(x, panels(weight, groups), Geometry(padding=(1, 1)), Affine(torch.ones(outputs)))
        exact = F.conv2d(x.double(), weight.double(), padding=1, groups=groups)
        torch.testing.assert_close(result.permute(0, 3, 1, 2).double(), exact, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("size", "channels"), [(14, 256), (7, 512)])
def test_it_is_nearer_the_truth_than_a_float32_convolution(size: int, channels: int) -> None:
    torch.manual_seed(channels)
    x, weight = torch.randn(1, channels, size, size), signs(32, channels, 3, 3)
    exact = F.conv2d(x.double(), weight.double(), padding=1)
    ours = w1a32_conv(x, panels(weight), Geometry(padding=(1, 1)), Affine(torch.ones(32)))
    plain = F.conv2d(x, weight, padding=1)
    assert (ours.permute(0, 3, 1, 2) - exact).square().mean() <= (plain - exact).square().mean()


@pytest.mark.parametrize(("size", "channels", "outputs"), [(20, 40, 70), (5, 96, 200)])
def test_results_do_not_depend_on_the_number_of_threads(size: int, channels: int, outputs: int) -> None:
    x, weight = torch.randn(3, channels, size, size), panels(signs(outputs, channels, 3, 3))
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3, 7):
            torch.set_num_threads(threads)
            results.append(w1a32_conv(x, weight, Geometry(padding=(1, 1)), Affine(torch.ones(outputs))))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(result, results[0]) for result in results[1:])


def test_memory_that_cannot_be_had_is_an_error() -> None:
    apart = 2**20 - 1
    x, weight = torch.zeros(()).expand(1, 1, apart + 1, apart + 1), panels(signs(1, 1, 2, 2))
    with pytest.raises(MemoryError):
        w1a32_conv(x, weight, Geometry(dilation=(apart, apart)), Affine(torch.ones(1)))


X = torch.zeros(1, 2, 4, 4)
WEIGHT = ConvPanels(torch.zeros(3, 3, dtype=torch.uint8), (3, 2, 3, 3))
ONES = Affine(torch.ones(3))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: w1a32_conv(X.double(), WEIGHT, Geometry(), ONES),
            "x is a torch.float64.*expected torch.float32",
        ),
        (
            lambda: w1a32_conv(X[0], WEIGHT, Geometry(), ONES),
            r"shape \(2, 4, 4\).*\(images, 2, height, width\)",
        ),
        (lambda: w1a32_conv(X[:, :1], WEIGHT, Geometry(), ONES), r"\(1, 1, 4, 4\).*\(images, 2,"),
        (lambda: w1a32_conv(X.to("meta"), WEIGHT, Geometry(), ONES), "on meta.*on cpu"),
        (lambda: w1a32_conv(X[..., :2], WEIGHT, Geometry(), ONES), "does not fit into an image"),
        (lambda: w1a32_conv(X, WEIGHT, Geometry(fill=1), ONES), "fill is 1; .* fill 0"),
        (
            lambda: w1a32_conv(X, WEIGHT, Geometry(), Affine(torch.ones(2))),
            "affine has 2 outputs; expected 3",
        ),
        (
            lambda: w1a32_conv(X, WEIGHT, Geometry(), ONES, torch.ones(1, 3, 2, 2)),
            r"\(1, 3, 2, 2\); expected \(1, 2, 2, 3\)",
        ),
        (
            lambda: w1a32_conv(X, WEIGHT, Geometry(), ONES, torch.ones(1, 2, 2, 3).int()),
            "residual is a torch.int32",
        ),
    ],
)
def test_bad_arguments_are_refused_by_name(call: object, words: str) -> None:
    assert callable(call)
    with pytest.raises(ProxConnectError, match=words):
        call()
