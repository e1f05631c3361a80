"""Cases of conv_checks.cpp."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from case_parts import Case, Cases, finish, numbers, or_empty
from kernel_reference import Array, finished, pack, sign, w1a1_conv, w1a8_conv, w1a32_conv

from proxconnect.kernels import Geometry

# Outputs and channels are those of a group. The lengths of the lists share no divisor.
OUTPUTS = [1, 8, 15, 17, 33]
GROUPS = [1, 2, 3]
CHANNELS = [1, 3, 8, 31, 32, 40, 70]
KERNELS = [(1, 1), (3, 3), (2, 3), (3, 1)]
GEOMETRIES = [
    Geometry(),
    *(Geometry(padding=(1, 1), fill=fill) for fill in (0, 1, -1)),
    *(Geometry((2, 2), (1, 1), fill=fill) for fill in (0, 1)),
    *(Geometry((2, 3), (2, 0), (2, 3), fill) for fill in (0, 1, -1)),
    Geometry((1, 2), (2, 2), (2, 2)),
    Geometry((3, 1), (0, 4), (1, 2)),
]


def shapes_of_convolutions() -> Iterator[tuple[tuple[int, ...], tuple[int, ...], int, Geometry]]:
    """Images (count, height, width, channels), weights (n, channels of a group, ky, kx), groups."""
    for i in range(len(CHANNELS) * len(GEOMETRIES)):
        groups, channels, n, at = GROUPS[i % 3], CHANNELS[i % 7], OUTPUTS[i % 5], GEOMETRIES[i % 11]
        images = (2, 5, 7) if i % 8 < 4 else (1, 3, 20)
        yield (*images, channels * groups), (n * groups, channels, *KERNELS[i % 4]), groups, at
    # Shared by threads, and no images.
    yield (1, 12, 14, 40), (48, 40, 3, 3), 1, Geometry(padding=(1, 1))
    yield (0, 12, 14, 40), (8, 40, 3, 3), 1, Geometry(padding=(1, 1))


def sizes(x: Array, w: Array, groups: int, at: Geometry) -> Case:
    return [*x.shape, len(w), *w.shape[2:], groups, *at.arguments, pack(w.reshape(len(w), -1))]


def convolutions(random: np.random.Generator) -> Cases:
    for shape, weight, groups, at in shapes_of_convolutions():
        x, w = numbers(random, *shape), sign(numbers(random, *weight))
        a, n = sign(x), weight[0]

        wrap = bool(random.integers(2))
        sums = w1a1_conv(a, w, groups, at, wrap=wrap).astype(np.int32)
        yield ["w1a1_conv_sums", *sizes(x, w, groups, at), int(wrap), pack(a), sums]

        threshold, flip = random.integers(-20, 20, n, dtype=np.int32), sign(numbers(random, n))
        bits = pack((sums >= threshold) != (flip > 0))
        yield ["w1a1_conv_signs", *sizes(x, w, groups, at), int(wrap), pack(a), threshold, pack(flip), bits]

        scale, rest = finish(random, n, w[0].size, len(sums))
        given = [scale, *or_empty(rest)]
        y = finished(sums.astype(np.float32) * scale, *rest)
        yield ["w1a1_conv_affine", *sizes(x, w, groups, at), int(wrap), pack(a), *given, y]

        # Of floats, zeros alone lie around the image.
        at = replace(at, fill=0)
        dense_channels = int(random.integers(2))
        images = x if dense_channels else np.ascontiguousarray(np.moveaxis(x, -1, 1))
        operands = [*sizes(x, w, groups, at), dense_channels]
        yield ["w1a32_conv", *operands, images, *given, finished(w1a32_conv(x, w, groups, at) * scale, *rest)]
        y = finished(w1a8_conv(x, w, scale, groups, at), *rest)
        yield ["w1a8_conv", *operands, images, *given, 1, y]
        if x.size and random.integers(4) == 0:
            images = images.copy()
            images.flat[random.integers(x.size)] = random.choice([np.inf, -np.inf, np.nan])
            yield ["w1a8_conv", *operands, images, *given, 0, y]


def packing_of_planes(random: np.random.Generator) -> Cases:
    shapes = [(2, 1, 1), (1, 8, 16), (3, 31, 19), (2, 40, 300), (2, 97, 17), (1, 64, 1100)]
    for count, channels, pixels in shapes:
        x = numbers(random, count, channels, pixels)
        bits = pack(np.moveaxis(sign(x), 1, 2))
        yield ["pack_planes", count, channels, pixels, x, 0, bits]
        x = x.copy()
        x.flat[random.integers(x.size)] = np.nan
        yield ["pack_planes", count, channels, pixels, x, 1, bits]


def conv_cases(random: np.random.Generator) -> Cases:
    yield from packing_of_planes(random)
    yield from convolutions(random)
