"""Products with 1-bit weights, beside torch's own and beside what the processor can do at most.

    python benchmarks/kernels.py

Every round runs ours, each peer and each ceiling once, one after the other, so that whatever else the
machine does meets them all alike; ratios are taken round by round. The floor is the larger of operations
over the rate of the instructions and bytes of the weight over the bandwidth that reads it, both of one core
times the threads, as ``ceilings.cpp`` has them. Libraries that are not installed are skipped by name. Writes
``docs/results/data/kernels.json`` and the table ``docs/results/kernels.md``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from _bars import Bar, bars_table
from _product_peers import PEERS
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
SHAPES = ((1, 4096, 4096), (197, 768, 768), (512, 3072, 768), (1024, 1024, 1024))
SHAPES += ((3136, 64, 576), (784, 128, 1152), (196, 256, 2304), (49, 512, 4608))  # what ResNets need
INT8 = ("torch int8, dynamic", "onnxruntime int8")
INSTRUCTIONS = {"W1A1": "carry_save", "W1A8": "dot", "W1A6": "table_dot", "W1A32": "look_up"}


BARS = (
    Bar("W1A1", 0.85, shapes=lambda shape: shape[0] != 1),
    Bar("W1A1", 11, ("torch float32",), lambda shape: shape[0] != 1 and shape[2] != 768),
    Bar("W1A1", 2.9, ("torch int8, bare",), lambda shape: shape[0] != 1 and shape[2] != 768),
    Bar("W1A8", 18, ("torch float32",), lambda shape: shape[0] == 1),
    Bar("W1A8", 5, INT8, lambda shape: shape[0] == 1),
    Bar("W1A8", 2.3, ("onnxruntime 2 bits",), lambda shape: shape[0] == 1),
    Bar("W1A8", 3.6, ("torch float32",), lambda shape: shape[0] in (197, 512)),
    Bar("W1A8", 1, INT8, lambda shape: shape[0] in (197, 512)),
    Bar("W1A32", 18, ("torch float32",), lambda shape: shape[0] == 1),
    Bar("W1A32", 2, ("torch float32",), lambda shape: shape[0] in (197, 512)),
    Bar("W1A8, AVX2", 1, ("torch float32",), lambda shape: shape[0] in (197, 512)),
)


def contenders(x: Tensor, weight: Tensor, threads: int) -> tuple[dict[str, Run], dict[str, Run]]:
    """Ours and those of others."""
    n, k = weight.shape
    scale, bias = torch.rand(n), torch.randn(n)
    bits, panels = kernels.pack_signs(x), kernels.Panels(kernels.pack_signs(weight), k)
    affine = kernels.Affine(scale, bias)
    thresholds = kernels.Thresholds(scale, bias, k)
    ours: dict[str, Run] = {
        "W1A1": lambda: kernels.w1a1_affine(bits, panels, affine),
        "W1A1 to bits": lambda: kernels.w1a1_signs(bits, panels, thresholds),
        "W1A8": lambda: kernels.w1a8(x, panels, affine),
        "W1A6": lambda: kernels.w1a8(x, panels, affine, bits=6),
        "W1A32": lambda: kernels.w1a32(x, panels, affine),
    }
    if "avx2" in kernels.kernel_sets():
        ours["W1A8, AVX2"] = with_kernels("avx2", ours["W1A8"])
    return ours, {name: run for peer in PEERS for name, run in peer(x, weight, threads).items()}


def measure(threads: int, of: dict[str, Ceiling]) -> list[dict[str, Any]]:
    torch.set_num_threads(threads)
    rows = []
    for m, n, k in SHAPES:
        ours, peers = contenders(torch.randn(m, k), torch.randn(n, k).sign(), threads)
        times = rounds(ours | peers | {name: ceiling.run for name, ceiling in of.items()})
        memory = "level_2" if n * k / 8 <= 2**20 else "level_3"
        reading = of[memory].seconds(n * k / 8, times[memory])
        for name in ours:
            instructions = INSTRUCTIONS[name.split()[0].rstrip(",")]
            computing = of[instructions].seconds(m * n * k, times[instructions])
            floor = [max(pair) / threads for pair in zip(computing, reading, strict=True)]
            rows.append(
                {
                    "kernel": name,
                    "shape": [m, n, k],
                    "threads": threads,
                    "milliseconds": [value * 1e3 for value in median_interval(times[name])],
                    "of_ceiling": ratio(floor, times[name]),
                    "faster_than": {peer: ratio(times[peer], times[name]) for peer in peers},
                }
            )
            print(as_line(rows[-1], list(peers)), flush=True)
    return rows


def as_line(row: dict[str, Any], peers: list[str]) -> str:
    ratios = (
        f"{found[1]:.1f} to {found[2]:.1f}" if (found := row["faster_than"].get(peer)) else ""
        for peer in peers
    )
    shape = " x ".join(map(str, row["shape"]))
    return (
        f"| {row['kernel']} | {shape} | {row['threads']} | {row['milliseconds'][0]:.3f} "
        f"| {row['of_ceiling'][0]:.0%} | {' | '.join(ratios)} |"
    )


def table(result: dict[str, Any]) -> str:
    peers = list(result["rows"][0]["faster_than"])
    head = ["kernel", "m x n x k", "threads", "ms", "floor / time", *(f"x {peer}" for peer in peers)]
    lines = [
        "# Products with 1-bit weights",
        "",
        f"{result['machine']}; kernel set {result['kernels']}; "
        f"medians of {ROUNDS} interleaved rounds, ratios as 95 % intervals. "
        f"{', '.join(f'{name} {number}' for name, number in result['versions'].items())}. "
        "Made by `benchmarks/kernels.py`.",
        "",
        f"| {' | '.join(head)} |",
        f"|{' --- |' * len(head)}",
        *(as_line(row, peers) for row in result["rows"]),
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
    of = ceilings(*INSTRUCTIONS.values(), "level_2", "level_3")
    result: dict[str, Any] = {
        "machine": machine(),
        "kernels": kernels.active_kernels(),
        "versions": versions(),
    }
    result["rows"] = [row for threads in arguments.threads for row in measure(threads, of)]
    print(*bars_table(BARS, result["rows"]), sep="\n")
    if arguments.dry:
        return
    with written_whole(RESULTS / "data" / "kernels.json") as file:
        file.write_text(json.dumps(result, indent=1) + "\n")
    with written_whole(RESULTS / "kernels.md") as file:
        file.write_text(table(result))


if __name__ == "__main__":
    main()
