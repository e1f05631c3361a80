"""Draw the README's picture: bytes and milliseconds of three layers in float32, int8 and with 1-bit weights.

python tools/speed_picture.py

Reads the JSON of the benchmarks of kernels and convolutions, and writes ``docs/pictures/speed.svg``.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

from svg import bar, picture, text

DOCS = Path(__file__).parents[1] / "docs"
PICTURE = DOCS / "pictures" / "speed.svg"


class Layer(NamedTuple):
    """A layer of the picture: where it was measured, and the size of its weight."""

    title: str
    benchmark: str
    shape: list[int]
    outputs: int
    inputs: int
    with_signs: str


LAYERS = (
    Layer("Linear, 4096 inputs and outputs, 1 row", "kernels", [1, 4096, 4096], 4096, 4096, "W1A1"),
    Layer("Linear, 768 inputs, 3072 outputs, 512 rows", "kernels", [512, 3072, 768], 3072, 768, "W1A1"),
    Layer(
        "Convolution 3 x 3, 128 channels, 28 x 28 pixels",
        "convolutions",
        [28, 28, 128],
        128,
        9 * 128,
        "W1A1, float32 to float32",
    ),
)


class Row(NamedTuple):
    """One bar of each half."""

    label: str
    colour: str
    bytes: int
    milliseconds: float


def read(name: str) -> dict[str, Any]:
    """Return what a benchmark measured."""
    result: dict[str, Any] = json.loads((DOCS / "results" / "data" / f"{name}.json").read_text())
    return result


def rows(layer: Layer, result: dict[str, Any]) -> list[Row]:
    """Return the bars of a layer: the fastest peer of each kind, and three kernels of this project."""

    def measured(case: dict[str, Any]) -> bool:
        return case["shape"] == layer.shape and case["threads"] == 1

    (peers,) = (case["milliseconds"] for case in result["peers"] if measured(case))
    ours = {case["kernel"]: case["milliseconds"][0] for case in result["rows"] if measured(case)}

    # A product of bytes alone is no peer: somebody has to quantize its input.
    def fastest(kind: str) -> float:
        return min(times[0] for name, times in peers.items() if kind in name and not name.endswith("bare"))

    numbers = layer.outputs * layer.inputs
    one_bit = layer.outputs * (math.ceil(layer.inputs / 8) + 2)
    return [
        Row("float32", "grey", 4 * numbers, fastest("float32")),
        Row("int8", "blue", numbers + 4 * layer.outputs, fastest("int8")),
        Row("1-bit weights, float32 inputs", "orange", one_bit, ours["W1A32"]),
        Row("1-bit weights, 8-bit inputs", "orange", one_bit, ours["W1A8"]),
        Row("1-bit weights, 1-bit inputs", "orange", one_bit, ours[layer.with_signs]),
    ]


def size(count: int) -> str:
    """Say a number of bytes.

    >>> size(147_712)
    '148 kB'
    """
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


def draw() -> str:
    """Return the picture."""
    width, line, bar_height, length = 860, 21, 15, 150
    halves = {"Bytes of the weight": (225, "smaller"), "Milliseconds, one thread": (550, "faster")}
    parts = []
    for title, (x, than_float32) in halves.items():
        parts.append(text(x, 30, title, 14, style="bold"))
        parts.append(text(x + length + 138, 30, than_float32, 12.5, "faint", "end"))
    top = 62
    for layer in LAYERS:
        parts.append(text(20, top, layer.title, 13.5, style="bold"))
        found = rows(layer, read(layer.benchmark))
        for number, row in enumerate(found):
            y = top + 10 + number * line
            base = y + bar_height - 3
            parts.append(text(20, base, row.label, 12.5))
            for (x, _), value, whole, words in zip(
                halves.values(),
                (row.bytes, row.milliseconds),
                (found[0].bytes, found[0].milliseconds),
                (size(row.bytes), f"{row.milliseconds:.2f} ms"),
                strict=True,
            ):
                parts.append(bar(x, y, length * value / whole, bar_height, row.colour))
                parts.append(text(x + length + 74, base, words, 12.5, anchor="end"))
                if number:
                    ratio = text(x + length + 138, base, f"{whole / value:.1f} x", 12.5, "faint", "end")
                    parts.append(ratio)
        top += 10 + len(found) * line + 32
    about = "Bytes and milliseconds of three layers in float32, int8 and with 1-bit weights; less is better."
    return picture(width, top - 24, about, parts)


def caption() -> str:
    """Return the lines under the picture: machine and protocol."""
    result = read("kernels")
    ratios = [row["faster_than"]["torch float32"] for run in read("models")["runs"] for row in run["rows"]]
    slowest, fastest = (f"{value:.1f}" for value in (min(r[0] for r in ratios), max(r[0] for r in ratios)))
    return (
        f"*{result['machine']}, AVX-512, one thread. Times are medians of {result['rounds']} interleaved "
        "rounds. float32 and int8 are the fastest measured of PyTorch, ONNX Runtime and OpenVINO. The int8 "
        "time includes quantizing the inputs of the linear layers, not those of the convolution. Bytes "
        "include scales. Whole networks keep their first and last layers in float32 and gain less: they "
        f"are [{slowest} to {fastest} times](docs/results/models.md) as fast as PyTorch in float32. More "
        "sizes, AVX2 and other 1-bit libraries: [products](docs/results/kernels.md), "
        "[convolutions](docs/results/convolutions.md).*"
    )


if __name__ == "__main__":
    PICTURE.write_text(draw())
    print(caption())
