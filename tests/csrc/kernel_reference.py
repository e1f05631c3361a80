"""The computations of the kernels in numpy, in float32 and in the order that csrc states."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce

import numpy as np
from numpy.typing import ArrayLike

from proxconnect.kernels import Geometry

Array = np.ndarray


def same(result: ArrayLike, expected: Array) -> bool:
    """Tell whether two arrays have the same numbers and dtype."""
    found = np.asarray(result)
    return found.dtype == expected.dtype and np.array_equal(found, expected)


def sign(x: Array) -> Array:
    return np.where(x >= 0, np.float32(1), np.float32(-1))


def pack(signs: Array) -> Array:
    return np.packbits(signs > 0, axis=-1, bitorder="little")


def wrapped(s: Array) -> Array:
    return (s + 128) % 256 - 128


def w1a1(a: Array, w: Array, *, wrap: bool) -> Array:
    sums = a.astype(np.int32) @ w.astype(np.int32).T
    return wrapped(sums) if wrap else sums


def finished(y: Array, bias: ArrayLike, residual: ArrayLike | None, slope: ArrayLike | None) -> Array:
    """Compute the steps that follow the scale."""
    y = y + np.asarray(bias)
    if residual is not None:
        y = y + np.asarray(residual)
    if slope is None:
        return y
    slope = np.asarray(slope)
    return np.where(y < 0, np.where(slope != 0, y * slope, np.float32(0)), y)


def chained(y: Array, steps: Sequence[tuple[str, Sequence[Array]]], residual: Array | None) -> Array:
    """Take floats through the steps of a chain, each rounded once."""
    with np.errstate(all="ignore"):
        for kind, constants in steps:
            y = _step(kind, y, *constants, residual)
    return y


def _step(kind: str, y: Array, *operands: Array | None) -> Array:
    c = np.asarray(operands[0])
    if kind == "multiply_add":  # the product is exact, and the sum hardly ever rounded twice
        wide = y.astype(np.longdouble) * c.astype(np.longdouble) + np.asarray(operands[1])
        return wide.astype(np.float32)
    results = {
        "multiply": lambda: y * c,
        "add": lambda: y + c,
        "divide": lambda: y / c,
        "add_residual": lambda: y + c,
        "prelu": lambda: np.where(y > 0, y, y * c),
        "at_least": lambda: np.where(y < c, c, y),
        "at_most": lambda: np.where(y > c, c, y),
    }
    return results[kind]()


def w1a8(x: Array, w: Array, scale: Array, group: int, greatest: int = 127) -> Array:
    """Compute the product of inputs, weights of -1, 0 and 1, and (groups, n) scales."""
    step = np.abs(x).max(axis=1, initial=0, keepdims=True) / np.float32(greatest)
    step[step < np.finfo(np.float32).tiny] = 0
    inverse = np.divide(np.float32(1), step, out=np.zeros_like(step), where=step > 0)
    q = np.rint(x * inverse)
    q, w = q.astype(np.int64), w.astype(np.int64)
    sums = [(q[:, part] @ w[:, part].T).astype(np.float32) for part in parts(scale, group)]
    return reduce(np.add, map(np.multiply, sums, scale)) * step


def w1a32(x: Array, w: Array, scale: Array, group: int) -> Array:
    """Compute the product of inputs, weights of -1, 0 and 1, and (groups, n) scales."""
    sums = [sums_of_floats(x[:, part], w[:, part]) for part in parts(scale, group)]
    return reduce(np.add, map(np.multiply, sums, scale))


def parts(scale: Array, group: int) -> list[slice]:
    """Return the inputs of each group, which scales (groups, n) are of."""
    return [slice(first, first + group) for first in range(0, group * len(scale), group)]


def planes(w: Array) -> tuple[Array, Array]:
    """Return the signs whose sum is twice a ternary weight."""
    return np.where(w >= 0, np.float32(1), np.float32(-1)), np.where(w > 0, np.float32(1), np.float32(-1))


def sums_of_floats(x: Array, w: Array) -> Array:
    """Add inputs times weights: those of both planes of signs where weights are ternary."""
    if (w == 0).any():
        first, second = planes(w)
        return (sums_of_signed(x, first) + sums_of_signed(x, second)) * np.float32(0.5)
    return sums_of_signed(x, w)


def sums_of_signed(x: Array, w: Array, block_fives: int = 32) -> Array:
    """Add the fives of inputs in blocks of so many, and then the blocks."""
    signed = x[:, None, :] * w
    signed = np.pad(signed, ((0, 0), (0, 0), (0, -x.shape[1] % 5)))
    s = signed.reshape(*signed.shape[:2], signed.shape[2] // 5, 5)
    fives = ((s[..., 0] + s[..., 1]) + s[..., 2]) + (s[..., 3] + s[..., 4])
    y = np.zeros((len(x), len(w)), np.float32)
    for first in range(0, fives.shape[2], block_fives):
        block = np.zeros_like(y)
        for five in np.moveaxis(fives[..., first : first + block_fives], -1, 0):
            block += five
        y += block
    return y


def taps(x: Array, kernel: tuple[int, int], at: Geometry) -> Array:
    """Cut images (count, height, width, channels) into windows (count, y, x, channels, *kernel)."""
    padding = [(0, 0), *((p, p) for p in at.padding), (0, 0)]
    reach = [d * (size - 1) + 1 for d, size in zip(at.dilation, kernel, strict=True)]
    padded = np.pad(x, padding, constant_values=at.fill)
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(1, 2))
    return windows[:, :: at.stride[0], :: at.stride[1], :, :: at.dilation[0], :: at.dilation[1]]


def convolved(
    product: Callable[[Array, Array], Array], x: Array, w: Array, groups: int, at: Geometry
) -> Array:
    """Group by group, product(inputs (rows, channels, ky, kx), weight); rows are (image, y, x)."""
    inputs = taps(x, w.shape[2:], at)
    inputs = inputs.reshape(-1, *inputs.shape[3:])
    parts = zip(np.split(inputs, groups, axis=1), np.split(w, groups), strict=True)
    return np.concatenate([product(a, b) for a, b in parts], axis=1)


def flat(a: Array) -> Array:
    return a.reshape(len(a), math.prod(a.shape[1:]))


def w1a1_conv(x: Array, w: Array, groups: int, at: Geometry, *, wrap: bool) -> Array:
    def product(a: Array, b: Array) -> Array:
        return w1a1(flat(a), flat(b), wrap=wrap)

    return convolved(product, x, w, groups, at)


def w1a8_conv(x: Array, w: Array, scale: Array, groups: int, at: Geometry) -> Array:
    """Each image has a step of its own."""
    step = np.abs(x).max(axis=(1, 2, 3), initial=0, keepdims=True) / np.float32(127)
    step[step < np.finfo(np.float32).tiny] = 0
    inverse = np.divide(np.float32(1), step, out=np.zeros_like(step), where=step > 0)
    sums = w1a1_conv(np.rint(x * inverse), w, groups, at, wrap=False)
    return sums.astype(np.float32) * scale * np.repeat(step.ravel(), len(sums) // max(len(x), 1))[:, None]


def w1a32_conv(x: Array, w: Array, groups: int, at: Geometry) -> Array:
    """Split the channels into fives; all taps of one follow each other."""
    taps = math.prod(w.shape[2:])

    def by_fives(a: Array) -> Array:
        a = np.pad(a, ((0, 0), (0, -a.shape[1] % 5), (0, 0), (0, 0)))
        return flat(np.moveaxis(a.reshape(len(a), a.shape[1] // 5, 5, *a.shape[2:]), 2, -1))

    def product(a: Array, b: Array) -> Array:
        return sums_of_signed(by_fives(a), by_fives(b), max(1, 32 // taps) * taps)

    return convolved(product, x, w, groups, at)
