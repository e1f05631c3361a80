"""What the kernels compute, written out in numpy; in float32 and in the order that csrc/core.h states."""

from __future__ import annotations

from functools import reduce

import numpy as np

Array = np.ndarray


def sign(x: Array) -> Array:
    return np.where(x >= 0, np.float32(1), np.float32(-1))


def pack(signs: Array) -> Array:
    return np.packbits(signs > 0, axis=-1, bitorder="little")


def wrapped(s: Array) -> Array:
    return (s + 128) % 256 - 128


def w1a1(a: Array, w: Array, *, wrap: bool) -> Array:
    sums = a.astype(np.int32) @ w.astype(np.int32).T
    return wrapped(sums) if wrap else sums


def finished(y: Array, bias: Array, residual: Array | None, slope: Array | None) -> Array:
    """What follows the scale."""
    y = y + bias
    if residual is not None:
        y = y + residual
    return y if slope is None else np.where(y < 0, y * slope, y)


def w1a8(x: Array, w: Array, scale: Array, group: int, greatest: int = 127) -> Array:
    """The product of inputs and (groups, n) scales."""
    step = np.abs(x).max(axis=1, initial=0, keepdims=True) / np.float32(greatest)
    step[step < np.finfo(np.float32).tiny] = 0
    inverse = np.divide(np.float32(1), step, out=np.zeros_like(step), where=step > 0)
    q = np.rint(x * inverse)
    q, w = q.astype(np.int64), w.astype(np.int64)
    groups = [slice(first, first + group) for first in range(0, group * len(scale), group)]
    sums = [(q[:, part] @ w[:, part].T).astype(np.float32) for part in groups]
    return reduce(np.add, map(np.multiply, sums, scale)) * step


def w1a32(x: Array, w: Array) -> Array:
    signed = x[:, None, :] * w
    signed = np.pad(signed, ((0, 0), (0, 0), (0, -x.shape[1] % 5)))
    s = signed.reshape(*signed.shape[:2], signed.shape[2] // 5, 5)
    fives = ((s[..., 0] + s[..., 1]) + s[..., 2]) + (s[..., 3] + s[..., 4])
    y = np.zeros((len(x), len(w)), np.float32)
    for first in range(0, fives.shape[2], 32):
        block = np.zeros_like(y)
        for five in np.moveaxis(fives[..., first : first + 32], -1, 0):
            block += five
        y += block
    return y
