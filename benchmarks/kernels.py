"""Products with 1-bit weights, beside torch's own and beside what the processor can do at most.

    python benchmarks/kernels.py

Every round runs ours and each peer once, one after the other, so that whatever else the machine does meets
them all alike; ratios are taken round by round. The floor is the larger of operations over the rate of the
instructions and bytes of the weight over the bandwidth that reads it, both measured here by ``ceilings.cpp``.
Writes ``docs/results/data/kernels.json`` and the table ``docs/results/kernels.md``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from _rounds import ROUNDS, Run, ceilings, median_interval, ratio, rounds

from proxconnect._files import written_whole
from proxconnect.engine import kernels

RESULTS = Path("docs/results")
SHAPES = ((1, 4096, 4096), (197, 768, 768), (512, 3072, 768), (1024, 1024, 1024))
SHAPES += ((3136, 64, 576), (784, 128, 1152), (196, 256, 2304), (49, 512, 4608))  # what ResNets need


def floor(kernel: str, m: int, n: int, k: int, threads: int, rates: dict[str, float]) -> float:
    """Seconds that no implementation with these instructions can beat."""
    instructions = {
        "W1A1": "carry_save",
        "W1A8": "dot",
        "W1A6": "table_dot",
        "W1A32": "look_up",
    }[kernel]
    weight = n * k / 8
    memory = "level_2" if weight <= 2**20 else "level_3"
    return max(m * n * k / rates[instructions], weight / rates[memory]) / threads / 1e9


def contenders(m: int, n: int, k: int) -> dict[str, Run]:
    """What is measured, ours first."""
    x, weight = torch.randn(m, k), torch.randn(n, k).sign()
    scale, bias = torch.rand(n), torch.randn(n)
    bits, panels = kernels.pack_signs(x), kernels.Panels(kernels.pack_signs(weight), k)
    affine = kernels.Affine(scale, bias)
    thresholds = kernels.Thresholds(scale, bias, k)
    dense = weight * scale[:, None]
    q, dense_q = (x * 40).round().clamp(-127, 127).to(torch.int8), weight.to(torch.int8).T.contiguous()
    dynamic = torch.ops.quantized.linear_dynamic
    quantized = torch.ops.quantized.linear_prepack(
        torch.quantize_per_tensor(dense, dense.abs().max().item() / 127, 0, torch.qint8), bias
    )
    return {
        "W1A1": lambda: kernels.w1a1_affine(bits, panels, affine),
        "W1A1 to bits": lambda: kernels.w1a1_signs(bits, panels, thresholds),
        "W1A8": lambda: kernels.w1a8(x, panels, affine),
        "W1A6": lambda: kernels.w1a8(x, panels, affine, bits=6),
        "W1A32": lambda: kernels.w1a32(x, panels, affine),
        "torch float32": lambda: torch.nn.functional.linear(x, dense, bias),
        "torch int8, bare": lambda: torch._int_mm(q, dense_q),
        "torch int8, dynamic": lambda: dynamic(x, quantized),
    }


def measure(threads: int, rates: dict[str, float]) -> list[dict[str, Any]]:
    torch.set_num_threads(threads)
    rows = []
    for m, n, k in SHAPES:
        times = rounds(contenders(m, n, k))
        peers = [name for name in times if name.startswith("torch")]
        for name in [name for name in times if name not in peers]:
            middle = median_interval(times[name])[0]
            rows.append(
                {
                    "kernel": name,
                    "shape": [m, n, k],
                    "threads": threads,
                    "milliseconds": [value * 1e3 for value in median_interval(times[name])],
                    "of_floor": floor(name.split()[0], m, n, k, threads, rates) / middle,
                    "faster_than": {peer: ratio(times[peer], times[name]) for peer in peers},
                }
            )
            print(as_line(rows[-1]), flush=True)
    return rows


def as_line(row: dict[str, Any]) -> str:
    ratios = (f"{low:.1f} to {high:.1f}" for _, low, high in row["faster_than"].values())
    shape = " x ".join(map(str, row["shape"]))
    return (
        f"| {row['kernel']} | {shape} | {row['threads']} | {row['milliseconds'][0]:.3f} "
        f"| {row['of_floor']:.0%} | {' | '.join(ratios)} |"
    )


def table(result: dict[str, Any]) -> str:
    peers = list(result["rows"][0]["faster_than"])
    head = ["kernel", "m x n x k", "threads", "ms", "floor / time", *(f"x {peer}" for peer in peers)]
    lines = [
        "# Products with 1-bit weights",
        "",
        f"Kernel set {result['kernels']}; medians of {ROUNDS} interleaved rounds, ratios as 95 % intervals. "
        "Made by `benchmarks/kernels.py`.",
        "",
        f"| {' | '.join(head)} |",
        f"|{' --- |' * len(head)}",
        *map(as_line, result["rows"]),
        "",
        "Ceilings of one thread, measured in the same run (10^9 products or bytes per second): "
        + ", ".join(f"{name} {rate:.0f}" for name, rate in result["ceilings"].items())
        + ".",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--dry", action="store_true", help="print only, write nothing")
    arguments = parser.parse_args()
    rates = ceilings()
    result: dict[str, Any] = {
        "kernels": kernels.active_kernels(),
        "torch": torch.__version__,
        "ceilings": rates,
    }
    result["rows"] = [row for threads in arguments.threads for row in measure(threads, rates)]
    if arguments.dry:
        return
    with written_whole(RESULTS / "data" / "kernels.json") as file:
        file.write_text(json.dumps(result, indent=1) + "\n")
    with written_whole(RESULTS / "kernels.md") as file:
        file.write_text(table(result))


if __name__ == "__main__":
    main()
