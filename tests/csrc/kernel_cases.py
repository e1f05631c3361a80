"""Writes the cases of kernel_test.cpp: operands of every kernel, and the results that numpy gives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from kernel_reference import Array, finished, pack, sign, w1a1, w1a8, w1a32

# Around the widths of words, bytes, panels, groups and blocks. The lengths of the lists share no divisor, so
# that every number of rows meets every number of inputs.
ROWS = list(range(1, 14))
OUTPUTS = [1, 7, 8, 9, 15, 16, 17, 32, 33, 49]
INPUTS = [1, 7, 31, 32, 33, 64, 100, 161, 325, 1025, 2050]
EMPTY = [(0, 5, 40), (3, 0, 40), (3, 5, 0)]
SHARED_BY_THREADS = [(67, 33, 1001), (2, 1030, 1100)]

Part = int | Array | str


def encoded(part: Part) -> bytes:
    """A number, or the length of an array or text and what is in it."""
    if isinstance(part, int):
        return np.int64(part).tobytes()
    content = part.encode() if isinstance(part, str) else part.tobytes()
    return np.int64(len(content) if isinstance(part, str) else part.size).tobytes() + content


def operands(random: np.random.Generator) -> Iterator[tuple[Array, Array]]:
    """Inputs (m, k) and signs (n, k)."""
    shapes = [
        (ROWS[i % len(ROWS)], OUTPUTS[i % len(OUTPUTS)], INPUTS[i % len(INPUTS)])
        for i in range(len(ROWS) * len(INPUTS))
    ]
    for m, n, k in shapes + EMPTY + SHARED_BY_THREADS:
        x, w = random.standard_normal((m, k), np.float32), random.standard_normal((n, k), np.float32)
        # Zeros of both signs, numbers that are not normal, and rows that hold nothing else.
        x[random.random(x.shape) < 0.1] = 0.0
        x[random.random(x.shape) < 0.1] = -0.0
        x[random.random(x.shape) < 0.1] = 1e-41
        x[random.random(m) < 0.1] *= np.float32(1e-38)
        yield x, sign(w)
    # The greatest sums.
    for value in (-3, 3):
        yield np.full((7, 4200), value, np.float32), np.ones((17, 4200), np.float32)


def packing(random: np.random.Generator, x: Array) -> Iterator[list[Part]]:
    rows, columns = x.shape
    signs = sign(x)
    yield ["pack_signs", rows, columns, x, -1, pack(signs)]
    for group in (columns + 1, 3, 16):
        scale = random.standard_normal((rows, -(-columns // group)), np.float32)
        weights = signs * np.repeat(scale, group, axis=1)[:, :columns]
        nonzero = random.random(x.shape) < 0.7
        nothing = np.empty(0, np.uint8)
        yield ["unpack_weights", rows, columns, group, pack(signs), nothing, scale, weights]
        ternary = np.where(nonzero, weights, np.float32(0))
        yield [
            "unpack_weights",
            rows,
            columns,
            group,
            pack(signs),
            pack(np.where(nonzero, 1, -1)),
            scale,
            ternary,
        ]
    if x.size:
        place = int(random.integers(x.size))
        x = x.copy()
        x.flat[place:] = np.nan
        yield ["pack_signs", rows, columns, x, place, pack(signs)]


def products(random: np.random.Generator, x: Array, w: Array) -> Iterator[list[Part]]:
    def normal(*shape: int) -> Array:
        return random.standard_normal(shape, np.float32)

    (m, k), n = x.shape, len(w)
    a, size = sign(x), [m, n, k, pack(w)]
    wrap = bool(random.integers(2))
    sums = w1a1(a, w, wrap=wrap)
    yield ["w1a1_sums", *size, int(wrap), pack(a), sums.astype(np.int32)]

    threshold = random.integers(-20, 20, n, dtype=np.int32)
    flip = sign(normal(n))
    decided = (sums >= threshold) != (flip > 0)
    yield ["w1a1_signs", *size, int(wrap), pack(a), threshold, pack(flip), pack(decided)]

    scale, bias = normal(n), normal(n) * np.float32(k**0.5)
    residual = normal(m, n) if random.integers(2) else None
    slope = normal(n) if random.integers(2) else None
    given = [part if part is not None else np.empty(0, np.float32) for part in (bias, residual, slope)]
    y = finished(sums.astype(np.float32) * scale, bias, residual, slope)
    yield ["w1a1_affine", *size, int(wrap), pack(a), scale, *given, y]

    y = finished(w1a32(x, w) * scale, bias, residual, slope)
    yield ["w1a32", *size, x, scale, *given, y]

    for group in (32, 96, max(-(-k // 32), 1) * 32):
        scales = normal(max(-(-k // group), 1), n)
        for greatest in (127, 31, 1):
            y = finished(w1a8(x, w, scales, group, greatest), bias, residual, slope)
            yield ["w1a8", *size, group, greatest, x, scales, *given, 1, y]

    if x.size and n:
        x = x.copy()
        x.flat[random.integers(x.size)] = random.choice([np.inf, -np.inf, np.nan])
        yield ["w1a8", *size, group, 127, x, scales, *given, 0, y]
        yield ["w1a32", *size, x, scale, *given, finished(w1a32(x, w) * scale, bias, residual, slope)]


def write_cases(path: Path) -> None:
    random = np.random.default_rng(0)
    with path.open("wb") as file, np.errstate(invalid="ignore"):
        for x, w in operands(random):
            for case in [*packing(random, x), *products(random, x, w)]:
                file.write(b"".join(map(encoded, case)))
