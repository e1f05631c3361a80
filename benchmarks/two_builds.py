"""Compares two builds of the compiled module: whether they give the same bits, and the ratio of their times.

    python benchmarks/two_builds.py OLD.so NEW.so [ROUNDS]

Each is loaded into a process of its own, and they are called in turns, on one thread, with every kernel set
that runs here. A ratio below 1 says that the new build is faster. Each row says whether bits are the same.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from types import ModuleType

import numpy as np

SECONDS = 2e-4  # at least, of a measurement
# Rows, outputs, inputs.
PRODUCTS = [(1, 1024, 1024), (7, 256, 700), (64, 512, 1024), (197, 576, 192), (197, 768, 768)]
# Channels, size of the image, outputs, size of the kernel, stride, padding.
CONVOLUTIONS = [
    *((64, 14, 64, 3, 1, 1), (32, 16, 48, 3, 2, 1), (128, 8, 64, 1, 1, 0)),
    *((16, 32, 16, 3, 1, 1), (64, 8, 64, 3, 1, 1)),  # of a ResNet-20
    *((64, 56, 64, 3, 1, 1), (256, 14, 256, 3, 1, 1), (512, 7, 512, 3, 1, 1)),  # of a ResNet-18
]

Array = np.ndarray
Call = tuple[Callable[[ModuleType], object], Array]  # what a build computes, and where its outputs go
Asked = tuple[str, str, int]  # a kernel set, a call, how often
random = np.random.default_rng(0)


def load(path: str) -> ModuleType:
    """Import a build."""
    spec = importlib.util.spec_from_file_location("build._native", Path(path).resolve())
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


def all_calls(native: ModuleType) -> dict[str, Call]:
    calls: dict[str, Call] = {}
    for product in PRODUCTS:
        calls |= product_calls(native, *product)
    for convolution in CONVOLUTIONS:
        calls |= convolution_calls(native, *convolution)
    return calls


def serve(path: str, to: Connection) -> None:
    """Load a build, send its kernel sets and calls, and then time what is asked for: seconds and outputs."""
    native = load(path)
    calls = all_calls(native)
    to.send((native.kernel_sets(), list(calls)))
    while True:
        kernel_set, call, repeats = to.recv()
        if repeats == 0:
            return
        assert native.use_kernels(kernel_set)
        run, out = calls[call]
        out.fill(0)
        taken = seconds(run, native, repeats)
        to.send((taken, out.tobytes()))


def ask(build: Connection, asked: Asked) -> tuple[float, bytes]:
    build.send(asked)
    taken, outputs = build.recv()
    return taken, outputs


def row(kernel_set: str, call: str, builds: list[Connection], rounds: int) -> str:
    """Measure the median time of the first build, and the second's as a multiple of it."""
    first, expected = ask(builds[0], (kernel_set, call, 1))
    same = "the same" if ask(builds[1], (kernel_set, call, 1))[1] == expected else "others"
    repeats = max(1, round(SECONDS / first))
    times: list[list[float]] = [[], []]
    for i in range(rounds):
        for which in (i % 2, 1 - i % 2):
            times[which].append(ask(builds[which], (kernel_set, call, repeats))[0])
    old, new = map(median, times)
    return f"| {kernel_set} | {call} | {1e6 * old:.1f} | {new / old:.3f} | {same} |"


def main() -> None:
    """Print one row for each set and call."""
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 25
    spawn = multiprocessing.get_context("spawn")
    builds = []
    for path in sys.argv[1:3]:
        here, there = spawn.Pipe()
        spawn.Process(target=serve, args=(path, there), daemon=True).start()
        builds.append(here)
    (kernel_sets, calls), _ = [build.recv() for build in builds]
    print("| set | call | old, us | new / old | bits |\n| --- | --- | --- | --- | --- |")
    for kernel_set in kernel_sets:
        for call in calls:
            print(row(kernel_set, call, builds, rounds), flush=True)
    for build in builds:
        build.send(("", "", 0))


if __name__ == "__main__":
    main()
