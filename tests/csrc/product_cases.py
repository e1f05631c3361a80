"""Cases of product_checks.cpp."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from case_parts import Cases, finish, numbers, or_empty
from kernel_reference import Array, finished, pack, planes, sign, w1a1, w1a8, w1a32

# Around the widths of words, bytes, panels, groups and blocks. The lengths of the lists share no divisor, so
# that every number of rows meets every number of inputs.
ROWS = list(range(1, 14))
OUTPUTS = [1, 7, 8, 9, 15, 16, 17, 32, 33, 49]
INPUTS = [1, 7, 31, 32, 33, 64, 100, 161, 325, 1025, 2050]
EMPTY = [(0, 5, 40), (3, 0, 40), (3, 5, 0)]
SHARED_BY_THREADS = [(67, 33, 1001), (2, 1030, 1100)]


def operands(random: np.random.Generator) -> Iterator[tuple[Array, Array]]:
    """Draw inputs (m, k) and signs (n, k)."""
    shapes = [
        (ROWS[i % len(ROWS)], OUTPUTS[i % len(OUTPUTS)], INPUTS[i % len(INPUTS)])
        for i in range(len(ROWS) * len(INPUTS))
    ]
    for m, n, k in shapes + EMPTY + SHARED_BY_THREADS:
        x, w = numbers(random, m, k), numbers(random, n, k)
        # Numbers that are not normal, and rows that hold nothing else.
        x[random.random(x.shape) < 0.1] = 1e-41
        x[random.random(m) < 0.1] *= np.float32(1e-38)
        yield x, sign(w)
    # The greatest sums.
    for value in (-3, 3):
        yield np.full((7, 4200), value, np.float32), np.ones((17, 4200), np.float32)


def packing(random: np.random.Generator, x: Array) -> Cases:
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


def products(random: np.random.Generator, x: Array, w: Array) -> Cases:
    (m, k), n = x.shape, len(w)
    a, size = sign(x), [m, n, k, pack(w)]
    wrap = bool(random.integers(2))
    sums = w1a1(a, w, wrap=wrap)
    yield ["w1a1_sums", *size, int(wrap), pack(a), sums.astype(np.int32)]

    threshold = random.integers(-20, 20, n, dtype=np.int32)
    flip = sign(numbers(random, n))
    decided = (sums >= threshold) != (flip > 0)
    yield ["w1a1_signs", *size, int(wrap), pack(a), threshold, pack(flip), pack(decided)]

    scale, rest = finish(random, n, k, m)
    given = or_empty(rest)
    y = finished(sums.astype(np.float32) * scale, *rest)
    yield ["w1a1_affine", *size, int(wrap), pack(a), scale, *given, y]

    yield from float_products(random, x, w, pack(w), np.empty(0, np.uint8))
    w = w * (random.random(w.shape) < 0.6).astype(np.float32)
    yield from float_products(random, x, w, *map(pack, planes(w)))


def float_products(random: np.random.Generator, x: Array, w: Array, *signs: Array) -> Cases:
    """Multiply floats by weights whose bits are ``signs``: a plane, and a second one or nothing."""
    (m, k), n = x.shape, len(w)
    size = [m, n, k, *signs]
    _, rest = finish(random, n, k, m)
    given = or_empty(rest)
    for group in (32, 96, max(-(-k // 32), 1) * 32):
        scales, stored = scales_of_groups(random, max(-(-k // group), 1), n)
        yield ["w1a32", *size, group, x, *stored, *given, finished(w1a32(x, w, scales, group), *rest)]
        for greatest in (127, 31, 1):
            y = finished(w1a8(x, w, scales, group, greatest), *rest)
            yield ["w1a8", *size, group, greatest, x, *stored, *given, 1, y]

    if x.size and n:
        x = x.copy()
        x.flat[random.integers(x.size)] = random.choice([np.inf, -np.inf, np.nan])
        yield ["w1a8", *size, group, 127, x, *stored, *given, 0, y]
        yield ["w1a32", *size, group, x, *stored, *given, finished(w1a32(x, w, scales, group), *rest)]


def scales_of_groups(random: np.random.Generator, groups: int, n: int) -> tuple[Array, list[Array]]:
    """Draw (groups, n) scales. Return them, and how kernels take them: as halves or as floats, by panels."""
    scales = numbers(random, groups, n)
    halves = bool(random.integers(2))
    if halves:
        scales[random.random(scales.shape) < 0.1] *= np.float32(1e-6)  # halves below the normal ones
        scales = scales.astype(np.float16).astype(np.float32)
    filled = np.zeros((groups, n if groups == 1 else -(-n // 16) * 16), np.float32)
    filled[:, :n] = scales
    panels = filled if groups == 1 else filled.reshape(groups, -1, 16).transpose(1, 0, 2).copy()
    nothing = np.empty(0, np.uint16), np.empty(0, np.float32)
    as_halves = panels.astype(np.float16).view(np.uint16)
    return scales, [as_halves, nothing[1]] if halves else [nothing[0], panels]


def product_cases(random: np.random.Generator) -> Cases:
    for x, w in operands(random):
        yield from packing(random, x)
        yield from products(random, x, w)
