"""Time products whose weights have a scale for each group of inputs, or are ternary.

    python benchmarks/group_products.py [--dry]

The shapes are those of the layers of a language model, for one token and for 128. Every round runs each
kernel and PyTorch in float32 on one thread, warm, one after the other; ratios are taken round by round. The
script writes ``docs/results/data/group_products.json`` and the table ``docs/results/group_products.md``.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import torch
from _results import write_results
from _rounds import ROUNDS, Run, machine, median_interval, ratio, rounds
from torch.nn import functional

from proxconnect import kernels
from proxconnect.base.table import Table
from proxconnect.format import BinaryTensor, pack_weight
from proxconnect.kernels import Affine, Panels

SHAPES = [(m, n, k) for m in (1, 128) for n, k in ((2048, 2048), (6144, 2048), (2048, 6144))]
GROUP = 128
TORCH, CHANNEL = "torch float32", "a scale per channel"
PRODUCTS = {"a8": kernels.w1a8, "a32": kernels.w1a32}


def runs_of(m: int, n: int, k: int) -> dict[str, Run]:
    """Return the product of this shape by every kernel, and by PyTorch."""
    torch.manual_seed(0)
    x, weight = torch.randn(m, k), torch.randint(-1, 2, (n, k)).float()
    scales = {
        "channel": Affine.of(torch.rand(n)),
        "groups": Affine.of(torch.rand(k // GROUP, n), group=GROUP),
    }
    runs: dict[str, Run] = {TORCH: partial(functional.linear, x, torch.randn(n, k))}
    for bits in (1, 2):
        panels = Panels.lay_out(pack_weight(weight, BinaryTensor((n, k), bits)), k)
        for activations, product in PRODUCTS.items():
            for name, affine in scales.items():
                runs[f"w{bits}{activations} {name}"] = partial(product, x, panels, affine)
    return runs


def measure(m: int, n: int, k: int, count: int) -> list[dict[str, Any]]:
    """Measure one shape."""
    times = rounds(runs_of(m, n, k), count)
    rows = []
    for name, seconds in times.items():
        if name != TORCH:
            kernel, scales = name.split()
            rows.append(
                {
                    "shape": [m, n, k],
                    "kernel": kernel,
                    "scales": scales,
                    "gmacs": m * n * k / median_interval(seconds)[0] / 1e9,
                    "of_channel": ratio(seconds, times[f"{kernel} channel"]),
                    "faster_than_torch": ratio(times[TORCH], seconds),
                }
            )
            print(rows[-1], flush=True)
    return rows


def page(result: dict[str, Any]) -> str:
    """Write the page of the results."""
    text = (
        f"{result['machine']}, kernel set `{result['kernel_set']}`, one thread, weights in the cache. "
        f"Medians of {result['rounds']} interleaved rounds with 95 % intervals. A shape is rows x outputs x "
        f"inputs. `groups` is a scale for each {GROUP} inputs, `channel` one for each output. `w2` is "
        "ternary. Times include quantizing the activations. `benchmarks/group_products.py` makes this page."
    )

    def cells(row: dict[str, Any]) -> list[str]:
        shape = " x ".join(map(str, row["shape"]))
        figures = (
            "{:.2f} ({:.2f} to {:.2f})".format(*row[key]) for key in ("of_channel", "faster_than_torch")
        )
        return [shape, f"`{row['kernel']}`", row["scales"], f"{row['gmacs']:.1f}", *figures]

    columns = (
        "shape",
        "kernel",
        "scales",
        "GMAC/s",
        "time beside one scale per channel",
        "times as fast as float32",
    )
    table = Table(columns, [cells(row) for row in result["rows"]])
    return (
        "\n".join(["# Scales for groups of inputs, and ternary weights", "", text, "", table.markdown()])
        + "\n"
    )


def main() -> None:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--dry", action="store_true", help="write nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    result = {
        "machine": machine(),
        "kernel_set": kernels.active_kernels(),
        "rounds": arguments.rounds,
        "rows": [row for shape in SHAPES for row in measure(*shape, arguments.rounds)],
    }
    if arguments.dry:
        return
    write_results("group_products", result, page)


if __name__ == "__main__":
    main()
