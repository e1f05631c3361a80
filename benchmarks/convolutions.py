"""3x3 convolutions of one bit, beside those of others and beside what the processor can do at most.

    python benchmarks/convolutions.py

Every round runs ours, each peer and the ceiling once, one after the other, each after a pause; ratios are
taken round by round. The ceiling is that of the carry-save instructions of AVX-512 in ``ceilings.cpp``.
OpenVINO's convolution is timed in a chain, where its layers hand bits to each other. Libraries that are not
installed are skipped by name. Writes ``docs/results/data/convolutions.json`` and
``docs/results/convolutions.md``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from _bars import Bar, bars_table
from _convolution_peers import CHAIN, PEERS
from _rounds import (
    ROUNDS,
    Ceiling,
    Run,
    ceilings,
    machine,
    median_interval,
    ratio,
    rounds,
    versions,
    with_kernels,
)
from torch import Tensor

from proxconnect._files import written_whole
from proxconnect.engine import kernels

RESULTS = Path("docs/results")
SHAPES = ((56, 64), (28, 128), (14, 256), (7, 512))  # height and width, channels: those of ResNets
BARS = (
    Bar("bits to bits", 1.5, ("OpenVINO binary, chain",)),
    Bar("bits to bits", 2.2, ("torch int8", "onnxruntime int8")),
    Bar("bits to bits", 0.75, shapes=lambda shape: shape[0] == 56),
    Bar("float32 to float32", 7.5, ("torch float32",)),
    Bar("float32 to float32", 9, ("larq-compute-engine",)),
    Bar("bits to bits, AVX2", 4, ("torch float32",)),
    Bar("float32 to float32, AVX2", 4, ("torch float32",)),
)


def ours(x: Tensor, weight: Tensor) -> dict[str, Run]:
    """Bits to bits, and float32 to float32 from either layout of the input."""
    n = len(weight)
    bits = kernels.pack_pixels(x)
    panels = kernels.ConvPanels(kernels.pack_signs(weight.flatten(1)), tuple(weight.shape))  # type: ignore[arg-type]
    geometry = kernels.Geometry(padding=(1, 1))
    scale, bias = torch.rand(n), torch.randn(n)
    affine, thresholds = kernels.Affine(scale, bias), kernels.Thresholds(scale, bias, panels.k)
    last = x.contiguous(memory_format=torch.channels_last)

    def whole(images: Tensor) -> Tensor:
        return kernels.w1a1_conv_affine(kernels.pack_pixels(images), panels, geometry, affine)

    runs: dict[str, Run] = {
        "bits to bits": lambda: kernels.w1a1_conv_signs(bits, panels, geometry, thresholds),
        "float32 to float32": lambda: whole(last),
        "float32 NCHW to float32": lambda: whole(x),
    }
    if "avx2" in kernels.kernel_sets():
        runs["bits to bits, AVX2"] = with_kernels("avx2", runs["bits to bits"])
        runs["float32 to float32, AVX2"] = with_kernels("avx2", runs["float32 to float32"])
    return runs


def measure(threads: int, ceiling: Ceiling) -> list[dict[str, Any]]:
    torch.set_num_threads(threads)
    rows = []
    for size, channels in SHAPES:
        x, weight = torch.randn(1, channels, size, size), torch.randn(channels, channels, 3, 3).sign()
        mine = ours(x, weight)
        others = {name: run for peer in PEERS for name, run in peer(x, weight, threads).items()}
        times = rounds(mine | others | {"ceiling": ceiling.run})
        if "OpenVINO binary" in times:
            one, chain = times.pop("OpenVINO binary"), times["OpenVINO binary, chain"]
            times["OpenVINO binary, chain"] = [(b - a) / (CHAIN - 1) for a, b in zip(one, chain, strict=True)]
        products = 9 * size**2 * channels**2 / threads
        floor = ceiling.seconds(products, times.pop("ceiling"))
        peers = [name for name in times if name not in mine]
        for name in mine:
            rows.append(
                {
                    "kernel": name,
                    "shape": [size, size, channels],
                    "threads": threads,
                    "milliseconds": [value * 1e3 for value in median_interval(times[name])],
                    "of_ceiling": ratio(floor, times[name]),
                    "faster_than": {peer: ratio(times[peer], times[name]) for peer in peers},
                }
            )
            print(as_line(rows[-1]), flush=True)
        milliseconds = {peer: round(median_interval(times[peer])[0] * 1e3, 4) for peer in peers}
        rows[-1]["peers_milliseconds"] = milliseconds
        print(milliseconds, flush=True)
    return rows


def as_line(row: dict[str, Any]) -> str:
    ratios = (f"{low:.1f} to {high:.1f}" for _, low, high in row["faster_than"].values())
    shape = " x ".join(map(str, row["shape"]))
    return (
        f"| {row['kernel']} | {shape} | {row['threads']} | {row['milliseconds'][0]:.3f} "
        f"| {row['of_ceiling'][0]:.0%} | {' | '.join(ratios)} |"
    )


def table(result: dict[str, Any]) -> str:
    peers = list(result["rows"][0]["faster_than"])
    head = ["W1A1", "image", "threads", "ms", "of the ceiling", *(f"x {peer}" for peer in peers)]
    peers_used = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    lines = [
        "# 3x3 convolutions of one bit",
        "",
        f"{result['machine']}; kernel set {result['kernels']}; "
        "as many outputs as channels, stride 1, zero padding, batch 1; "
        f"medians of {ROUNDS} interleaved rounds, ratios as 95 % intervals. {peers_used}. "
        "Made by `benchmarks/convolutions.py`.",
        "",
        f"| {' | '.join(head)} |",
        f"|{' --- |' * len(head)}",
        *map(as_line, result["rows"]),
        "",
        "## Figures to reach",
        "",
        *bars_table(BARS, result["rows"]),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--dry", action="store_true", help="print only, write nothing")
    arguments = parser.parse_args()
    ceiling = ceilings("carry_save")["carry_save"]
    result: dict[str, Any] = {
        "machine": machine(),
        "kernels": kernels.active_kernels(),
        "versions": versions(),
    }
    result["rows"] = [row for threads in arguments.threads for row in measure(threads, ceiling)]
    print(*bars_table(BARS, result["rows"]), sep="\n")
    if arguments.dry:
        return
    with written_whole(RESULTS / "data" / "convolutions.json") as file:
        file.write_text(json.dumps(result, indent=1) + "\n")
    with written_whole(RESULTS / "convolutions.md") as file:
        file.write_text(table(result))


if __name__ == "__main__":
    main()
