"""Time depthwise, grouped and thin convolutions on our kernels beside PyTorch.

    python benchmarks/thin_convolutions.py

The script times one image on one thread by processor time, and takes the least of some rounds, so that other
work of the machine does little harm. ``engine/_kernel_choice.py`` chooses kernels by this table. ``torch`` is
the convolution in float32 without binarization, ``unpacked`` the convolution that unpacks its weight in each
call.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import product

import torch
from torch import nn

import proxconnect as pc
from proxconnect.base.table import Table
from proxconnect.engine import PackedLayer
from proxconnect.engine._layer_geometry import geometry_of_layer
from proxconnect.engine._packed_forward import PackedForward

ROUNDS, SECONDS = 5, 0.02
# Inputs and outputs of a group, groups, size of the kernel, size of the image.
SHAPES = [
    *((1, 1, channels, kernel, size) for channels, kernel, size in product((32, 96, 384), (3, 5), (14, 56))),
    *((c, c, 96 // c, 3, 28) for c in (2, 4, 8, 16, 32)),
    *((c, n, 1, 1, 28) for c, n in product((8, 16, 32, 64, 96, 192), (8, 16, 24, 96, 192))),
    *((c, n, 1, 3, 28) for c, n in product((3, 8, 16, 32, 64), (4, 8, 16, 32, 64))),
]


def milliseconds(run: Callable[[], object]) -> float:
    """Measure the least processor time of a call, in milliseconds."""
    least = float("inf")
    for _ in range(ROUNDS):
        calls, start = 0, time.thread_time()
        while (spent := time.thread_time() - start) < SECONDS or calls < 3:
            run()
            calls += 1
        least = min(least, spent / calls)
    return 1e3 * least


@torch.inference_mode()
def measured(inputs: int, outputs: int, groups: int, kernel: int, size: int) -> dict[str, float]:
    """Measure the time of each way to compute a convolution."""
    conv = nn.Conv2d(inputs * groups, outputs * groups, kernel, padding=kernel // 2, groups=groups)
    x = torch.randn(1, inputs * groups, size, size)
    times = {"torch": milliseconds(lambda: conv(x))}
    packed = pc.pack_(pc.binarize_(conv, pc.BinarizeConfig("bc"), lambda module, name: True)).eval()
    assert isinstance(packed, PackedLayer)
    geometry = geometry_of_layer(packed, packed.plain)
    assert geometry is not None
    for name in ("unpacked", "w1a32", "w1a8"):
        weight = packed.packed_weights()["weight"]
        packed.packed_forward = None if name == "unpacked" else PackedForward(name, geometry, weight, packed)
        times[name] = milliseconds(lambda: packed(x))
    return times


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    columns = ("in", "out", "groups", "kernel", "size", "torch", "unpacked", "w1a32", "w1a8")
    rows = []
    for shape in SHAPES:
        rows.append([*map(str, shape), *(f"{value:.4f}" for value in measured(*shape).values())])
        print(*rows[-1], sep="  ", flush=True)
    print(Table(columns, rows, numbers=columns))


if __name__ == "__main__":
    main()
