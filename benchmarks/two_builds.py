"""Compares two builds of the compiled module: the same bits, and the ratio of their times.

    python benchmarks/two_builds.py OLD.so NEW.so [ROUNDS]

Both are loaded into this process and called in turns, on one thread, with every kernel set that runs here.
A ratio below 1 says that the new build is faster.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from types import ModuleType

import numpy as np

SECONDS = 2e-4  # at least, of a measurement
PRODUCTS = [(1, 1024, 1024), (7, 256, 700), (64, 512, 1024)]  # rows, outputs, inputs
# Channels, size of the image, outputs, size of the kernel, stride, padding.
CONVOLUTIONS = [(64, 14, 64, 3, 1, 1), (32, 16, 48, 3, 2, 1), (128, 8, 64, 1, 1, 0)]

Array = np.ndarray
Call = tuple[Callable[[ModuleType], object], Array]  # what a build computes, and where its outputs go
random = np.random.default_rng(0)


def load(path: str, package: str) -> ModuleType:
    """Import a build under a name of its own."""
    spec = importlib.util.spec_from_file_location(f"{package}._native", Path(path).resolve())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def bits(*shape: int) -> Array:
    """Draw packed signs; the last axis counts elements, and the bits after them are zero."""
    return np.packbits(random.integers(0, 2, shape, dtype=np.uint8), axis=-1, bitorder="little")


def floats(*shape: int) -> Array:
    return random.standard_normal(shape).astype(np.float32)


def words_of(inputs: int) -> int:
    return -(-inputs // 32)


def product_calls(native: ModuleType, m: int, n: int, k: int) -> dict[str, Call]:
    """Return the products of one size, by name."""
    weight, signs, x, scale, bias = bits(n, k), bits(m, k), floats(m, k), floats(n), floats(n)
    words, out = np.zeros(-(-n // 16) * 16 * words_of(k), np.uint32), np.zeros((m, n), np.float32)
    native.make_panels((weight.ctypes.data, weight.shape[1], n), k, words.ctypes.data)

    def panels() -> tuple[int, int, int, int]:
        return words.ctypes.data, n, k, 1

    def affine() -> tuple[int, int, int, int]:
        return 0, scale.ctypes.data, bias.ctypes.data, 0

    def w1a1(build: ModuleType) -> None:
        rows = (signs.ctypes.data, signs.shape[1], m)
        build.w1a1_affine(rows, panels(), False, out.ctypes.data, affine(), 1)

    all_inputs = 32 * words_of(k), False  # share a scale, of single precision

    def w1a8(build: ModuleType) -> None:
        build.w1a8((x.ctypes.data, k, m), panels(), all_inputs, 127, out.ctypes.data, affine(), 1)

    def w1a32(build: ModuleType) -> None:
        build.w1a32((x.ctypes.data, k, m), panels(), all_inputs, out.ctypes.data, affine(), 1)

    return {f"{run.__name__} {m} x {n} x {k}": (run, out) for run in (w1a1, w1a8, w1a32)}


def convolution_calls(
    native: ModuleType, channels: int, size: int, n: int, kernel: int, stride: int, padding: int
) -> dict[str, Call]:
    """Return the convolutions of one image, by name."""
    weight, pixels, x = (
        bits(n, channels * kernel**2),
        bits(size, size, channels),
        floats(channels, size, size),
    )
    scale, bias, side = floats(n), floats(n), (size + 2 * padding - kernel) // stride + 1
    words = np.zeros(-(-n // 16) * 16 * kernel**2 * words_of(channels), np.uint32)
    tap_sums = np.zeros(-(-n // 16) * 16 * (kernel + 1) ** 2, np.int32)
    out = np.zeros((side * side, n), np.float32)
    geometry = [stride, stride, padding, padding, 1, 1, 0]

    def panels() -> tuple[int, ...]:
        return words.ctypes.data, tap_sums.ctypes.data, n, channels, kernel, kernel, 1

    def operands() -> tuple[object, ...]:
        sizes, strides = [1, channels, size, size], [x.size, size * size, size, 1]
        return (x.ctypes.data, sizes, strides), panels(), geometry

    def affine() -> tuple[int, int, int, int]:
        return 0, scale.ctypes.data, bias.ctypes.data, 0

    def w1a1_conv(build: ModuleType) -> None:
        images = (pixels.ctypes.data, 1, size, size)
        build.w1a1_conv_affine(images, panels(), geometry, False, out.ctypes.data, affine(), 1)

    def w1a8_conv(build: ModuleType) -> None:
        build.w1a8_conv(*operands(), out.ctypes.data, affine(), 1)

    def w1a32_conv(build: ModuleType) -> None:
        build.w1a32_conv(*operands(), out.ctypes.data, affine(), 1)

    native.make_conv_panels((weight.ctypes.data, weight.shape[1], n), panels())
    shape = f"{channels} x {size} x {size} to {n}, kernel {kernel}, stride {stride}"
    return {f"{run.__name__} {shape}": (run, out) for run in (w1a1_conv, w1a8_conv, w1a32_conv)}


def seconds(run: Callable[[ModuleType], object], build: ModuleType, repeats: int) -> float:
    run(build)
    start = time.perf_counter()
    for _ in range(repeats):
        run(build)
    return (time.perf_counter() - start) / repeats


def ratio(run: Callable[[ModuleType], object], out: Array, builds: list[ModuleType], rounds: int) -> str:
    """Measure the median time of the first build, and the second's as a multiple of it."""
    run(builds[0])
    expected = out.copy()
    out.fill(0)
    run(builds[1])
    assert out.tobytes() == expected.tobytes(), "the builds give different bits"
    repeats = max(1, round(SECONDS / seconds(run, builds[0], 1)))
    times: list[list[float]] = [[], []]
    for i in range(rounds):
        for which in (i % 2, 1 - i % 2):
            times[which].append(seconds(run, builds[which], repeats))
    return f"{1e6 * median(times[0]):.1f} | {median(times[1]) / median(times[0]):.3f}"


def main() -> None:
    """Print one row for each set and call."""
    builds = [load(sys.argv[1], "old"), load(sys.argv[2], "new")]
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 25
    calls: dict[str, Call] = {}
    for product in PRODUCTS:
        calls |= product_calls(builds[0], *product)
    for convolution in CONVOLUTIONS:
        calls |= convolution_calls(builds[0], *convolution)
    print("| set | call | old, us | new / old |\n| --- | --- | --- | --- |")
    for name in builds[0].kernel_sets():
        for build in builds:
            assert build.use_kernels(name)
        for call, (run, out) in calls.items():
            print(f"| {name} | {call} | {ratio(run, out, builds, rounds)} |", flush=True)


if __name__ == "__main__":
    main()
