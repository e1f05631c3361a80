"""8-bit activations: convolutions, fewer bits, and the corners of the products, on every kernel set."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from proxconnect.engine import kernels
from proxconnect.engine.kernels import Affine, ConvPanels, Geometry, Panels, pack_signs, w1a8, w1a8_conv
from proxconnect.errors import ProxConnectError

Array = np.ndarray

seeds = st.integers(0, 2**31)
drawn = settings(max_examples=30, deadline=None)


@pytest.fixture(params=kernels.kernel_sets(), autouse=True, scope="module")
def every_kernel_set(request: pytest.FixtureRequest) -> Iterator[None]:
    before = kernels.active_kernels()
    kernels.use_kernels(request.param)
    yield
    kernels.use_kernels(before)


def quantized(x: Array, greatest: int) -> tuple[Array, Array]:
    """Integers and step of each of x[0], x[1], ..."""
    step = np.abs(x).max(axis=tuple(range(1, x.ndim)), initial=0) / np.float32(greatest)
    step[step < np.finfo(np.float32).tiny] = 0
    inverse = np.divide(np.float32(1), step, out=np.zeros_like(step), where=step > 0)
    shape = (-1,) + (1,) * (x.ndim - 1)
    return np.rint(x * inverse.reshape(shape)).astype(np.int64), step.reshape(shape)


def finished(y: Array, affine: Affine, residual: Tensor | None) -> Array:
    y = y + affine.bias.numpy()
    if residual is not None:
        y = y + residual.numpy()
    return y if affine.slope is None else np.where(y < 0, y * affine.slope.numpy(), y)


def same(result: Tensor, expected: Array) -> bool:
    return result.numpy().dtype == expected.dtype and np.array_equal(result.numpy(), expected)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@drawn
@given(
    m=st.sampled_from([0, 1, 2, 3, 4, 7, 8, 9, 13, 25, 31]),
    n=st.sampled_from([1, 15, 16, 33, 70]),
    k=st.one_of(st.integers(0, 70), st.sampled_from([127, 161, 509, 1031])),
    bits=st.integers(2, 8),
    group=st.sampled_from([0, 32, 96]),
    seed=seeds,
)
def test_product_of_any_bits(m: int, n: int, k: int, bits: int, group: int, seed: int) -> None:
    x, weight = normal(m, k, seed=seed), normal(n, k, seed=seed + 1)
    groups = max(-(-k // group), 1) if group else 1
    affine = Affine(normal(groups, n, seed=seed + 2), normal(n, seed=seed + 3))
    result = w1a8(x, Panels(pack_signs(weight), k), affine, group=group or None, bits=bits)
    q, step = quantized(x.numpy(), 2 ** (bits - 1) - 1)
    w = np.where(weight.numpy() >= 0, 1, -1)
    y = np.zeros((m, n), np.float32)
    for g in range(groups):
        part = slice(g * group, (g + 1) * group) if group else slice(None)
        y += (q[:, part] @ w[:, part].T).astype(np.float32) * affine.scale.numpy().reshape(groups, n)[g]
    assert same(result, finished(y * step, affine, None))


@pytest.mark.parametrize("value", [1.0, -1.0])
@pytest.mark.parametrize("m", [1, 3, 9])
@pytest.mark.parametrize("bits", [6, 7, 8])
@pytest.mark.parametrize("k", [9000, 70_000])  # beyond what is spread out at a time, and what is looked up
def test_the_greatest_inputs_do_not_overflow(value: float, m: int, bits: int, k: int) -> None:
    x = torch.full((m, k), value)
    x[:, ::3] *= -1
    weight = torch.where(torch.arange(k) % 3 == 0, -1.0, 1.0).repeat(2, 1)
    weight[1] *= -1
    y = w1a8(x, Panels(pack_signs(weight), k), Affine(torch.ones(2)), bits=bits)
    greatest = 2 ** (bits - 1) - 1
    expected = np.float32(k * greatest) * (np.float32(1) / np.float32(greatest)) * value
    assert same(y, np.array([[expected, -expected]] * m, np.float32))


def convolution(x: Array, w: Array, geometry: Geometry, groups: int) -> Array:
    """Sums of integers, (N, Ho, Wo, n)."""
    (py, px), (dy, dx), (sy, sx) = geometry.padding, geometry.dilation, geometry.stride
    x = np.pad(x, ((0, 0), (0, 0), (py, py), (px, px)))
    n, inputs, kh, kw = w.shape
    height, width = x.shape[2] - dy * (kh - 1), x.shape[3] - dx * (kw - 1)
    per_group = n // groups
    out = np.zeros((len(x), -(-height // sy), -(-width // sx), n), np.int64)
    for u in range(kh):
        for v in range(kw):
            seen = x[:, :, u * dy : u * dy + height : sy, v * dx : v * dx + width : sx]
            for g in range(groups):
                j, c = slice(g * per_group, (g + 1) * per_group), slice(g * inputs, (g + 1) * inputs)
                out[..., j] += np.einsum("nchw,jc->nhwj", seen[:, c], w[j, :, u, v])
    return out


@drawn
@given(
    count=st.integers(0, 3),
    group_channels=st.sampled_from([1, 2, 3, 4, 5, 16, 31, 40]),
    group_outputs=st.sampled_from([1, 3, 16, 17, 40]),
    groups=st.sampled_from([1, 1, 2, 3]),
    size=st.tuples(st.integers(3, 9), st.integers(3, 19)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    form=st.sampled_from(["contiguous", "channels_last", "strided"]),
    plain=st.booleans(),
    threads=st.sampled_from([1, 2, 3]),
    seed=seeds,
)
def test_convolution(
    count: int,
    group_channels: int,
    group_outputs: int,
    groups: int,
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    form: str,
    plain: bool,
    threads: int,
    seed: int,
) -> None:
    geometry = Geometry(stride, padding, dilation)
    reach = [size[i] + 2 * padding[i] - dilation[i] * (kernel[i] - 1) for i in (0, 1)]
    if min(reach) < 1:
        return
    n, channels = group_outputs * groups, group_channels * groups
    x, weight = normal(count, channels, *size, seed=seed), normal(n, group_channels, *kernel, seed=seed + 1)
    q, step = quantized(x.numpy(), 127)
    sums = convolution(q, np.where(weight.numpy() >= 0, 1, -1), geometry, groups)
    affine = Affine(
        normal(n, seed=seed), normal(n, seed=seed + 2), None if plain else normal(n, seed=seed + 3)
    )
    residual = None if plain else normal(*sums.shape, seed=seed + 4)
    expected = finished(sums.astype(np.float32) * affine.scale.numpy() * step, affine, residual)
    if form == "channels_last":
        x = x.to(memory_format=torch.channels_last)
    elif form == "strided":
        x = normal(count, channels, size[0], size[1] + 3).index_copy_(3, torch.arange(size[1]), x)[
            ..., : size[1]
        ]
    panels = ConvPanels(pack_signs(weight.flatten(1)), tuple(weight.shape), groups)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        assert same(w1a8_conv(x, panels, geometry, affine, residual), expected)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize(("size", "channels"), [(28, 32), (6, 200)])
def test_convolution_does_not_depend_on_the_number_of_threads(count: int, size: int, channels: int) -> None:
    x = normal(count, channels, size, size)
    weight = ConvPanels(pack_signs(normal(72, channels * 9)), (72, channels, 3, 3))
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3, 7):
            torch.set_num_threads(threads)
            results.append(w1a8_conv(x, weight, Geometry(padding=(1, 1)), Affine(torch.ones(72))))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(result, results[0]) for result in results)


X = torch.ones(2, 4, 3, 3)
WEIGHT = ConvPanels(pack_signs(torch.ones(2, 36)), (2, 4, 3, 3))
ONES = Affine(torch.ones(2))
PLAIN = Geometry()
INFINITE = X * torch.tensor([1, torch.inf])[:, None, None, None]
ROWS = torch.ones(3, 3)
SIGNS = Panels(pack_signs(ROWS), 3)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: w1a8_conv(X.double(), WEIGHT, PLAIN, ONES), "x is a torch.float64.*expected torch.float32"),
        (lambda: w1a8_conv(X[0], WEIGHT, PLAIN, ONES), "expected torch.float32 with 4 dimensions"),
        (lambda: w1a8_conv(X.to("meta"), WEIGHT, PLAIN, ONES), "on meta.*on cpu"),
        (lambda: w1a8_conv(X[:, :3], WEIGHT, PLAIN, ONES), "x has 3 channels; expected 4"),
        (lambda: w1a8_conv(X, WEIGHT, Geometry(fill=1), ONES), "fill is 1; expected 0"),
        (lambda: w1a8_conv(X[..., :2], WEIGHT, PLAIN, ONES), "does not fit into an image"),
        (lambda: w1a8_conv(X, WEIGHT, PLAIN, Affine(torch.ones(3))), "affine has 3 outputs; expected 2"),
        (lambda: w1a8_conv(X, WEIGHT, PLAIN, ONES, X), r"residual has shape.*expected \(2, 1, 1, 2\)"),
        (lambda: w1a8_conv(INFINITE, WEIGHT, PLAIN, ONES), "image 1 of x holds an infinity"),
        (lambda: w1a8(ROWS, SIGNS, Affine(torch.ones(3)), bits=9), "bits is 9; expected 2 to 8"),
        (lambda: w1a8(ROWS, SIGNS, Affine(torch.ones(3)), bits=1), "bits is 1"),
    ],
)
def test_bad_arguments_are_refused_by_name(call: object, words: str) -> None:
    assert callable(call)
    with pytest.raises(ProxConnectError, match=words):
        call()


@pytest.mark.parametrize("value", [0.0, -1e-42])
def test_images_too_small_to_quantize_are_zero(value: float) -> None:
    assert not w1a8_conv(torch.full((1, 4, 3, 3), value), WEIGHT, Geometry(), ONES).any()
