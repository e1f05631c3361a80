"""Measure the cost of a kernel's call apart from its work.

    python benchmarks/calls.py

The script times the smallest product of each kernel, one row or pixel of 32 inputs and 16 outputs, on one
thread, and PyTorch's own beside it. Nearly all of the time goes into checks of arguments, the memory of the
output and the way into compiled code. The script writes ``docs/results/data/calls.json`` and the table
``docs/results/calls.md``.
"""

from __future__ import annotations

from typing import Any

import torch
from _results import write_results
from _rounds import Run, machine, median_interval, rounds
from torch.nn import functional

from proxconnect import kernels
from proxconnect.base.table import Table
from proxconnect.kernels import Affine, ConvPanels, Geometry, Panels, Thresholds, pack_signs

INPUTS, OUTPUTS = 32, 16
BAR = 5.0  # microseconds


def calls() -> dict[str, Run]:
    """Return the smallest call of each kernel."""
    torch.manual_seed(0)
    x, weight = torch.randn(1, INPUTS), torch.randn(OUTPUTS, INPUTS)
    bits, signs = pack_signs(x), pack_signs(weight)
    panels, affine = Panels.lay_out(signs, INPUTS), Affine.of(torch.ones(OUTPUTS))
    thresholds = Thresholds.of(torch.ones(OUTPUTS), torch.zeros(OUTPUTS), INPUTS)
    image, kernel = x.reshape(1, INPUTS, 1, 1), weight.reshape(OUTPUTS, INPUTS, 1, 1)
    pixel = kernels.pack_pixels(image)
    conv = ConvPanels.lay_out(signs, (OUTPUTS, INPUTS, 1, 1)), Geometry()
    return {
        "w1a1_sums": lambda: kernels.w1a1_sums(bits, panels),
        "w1a1_affine": lambda: kernels.w1a1_affine(bits, panels, affine),
        "w1a1_signs": lambda: kernels.w1a1_signs(bits, panels, thresholds),
        "w1a8": lambda: kernels.w1a8(x, panels, affine),
        "w1a32": lambda: kernels.w1a32(x, panels, affine),
        "w1a1_conv_sums": lambda: kernels.w1a1_conv_sums(pixel, *conv),
        "w1a1_conv_affine": lambda: kernels.w1a1_conv_affine(pixel, *conv, affine),
        "w1a1_conv_signs": lambda: kernels.w1a1_conv_signs(pixel, *conv, thresholds),
        "w1a8_conv": lambda: kernels.w1a8_conv(image, *conv, affine),
        "w1a32_conv": lambda: kernels.w1a32_conv(image, *conv, affine),
        "pack_signs": lambda: pack_signs(x),
        "pack_pixels": lambda: kernels.pack_pixels(image),
        "torch linear": lambda: functional.linear(x, weight),
        "torch conv2d": lambda: functional.conv2d(image, kernel),
    }


def page(result: dict[str, Any]) -> str:
    """Write the page of the results."""
    text = (
        f"{result['machine']}, one thread; kernel set {result['kernels']}, PyTorch {result['torch']}; "
        f"medians of {result['rounds']} interleaved rounds with 95 % intervals. Each call has one row or "
        f"pixel of {INPUTS} inputs, and {OUTPUTS} outputs. Nearly all of its time is spent on checking the "
        "arguments, on the memory of the output and on the way into compiled code. `benchmarks/calls.py` "
        "makes this page."
    )
    slow = [
        name for name, (_, _, high) in result["microseconds"].items() if high > BAR and "torch" not in name
    ]
    which = f"all kernels but {', '.join(slow)}" if slow else "every kernel"
    lines = [
        "# What a call of a kernel costs",
        "",
        text,
        "",
        Table(
            ("call", "us", "95 % interval"),
            (
                (name, f"{median:.2f}", f"{low:.2f} to {high:.2f}")
                for name, (median, low, high) in result["microseconds"].items()
            ),
        ).markdown(),
        "",
        f"A call takes at most {BAR:g} us with {which}.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write the results."""
    torch.set_num_threads(1)
    times = rounds(calls())
    result = {
        "machine": machine(),
        "kernels": kernels.active_kernels(),
        "torch": torch.__version__,
        "rounds": len(next(iter(times.values()))),
        "microseconds": {
            name: [value * 1e6 for value in median_interval(seconds)] for name, seconds in times.items()
        },
    }
    write_results("calls", result, page)
    print(page(result))


if __name__ == "__main__":
    main()
