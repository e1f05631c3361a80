"""Measure what a repaired pair costs in training, beside the pairs of the catalogue.

    python benchmarks/repaired_pairs.py [--rows 1024] [--columns 1152] [--rounds 40]

The cost is that of a layer's quantized weight, forward and backward, on one thread. Each round measures every
pair once, in an order that changes from round to round, and the ratio is the median over the rounds of the
cost of a pair to that of ``poly+``, the cheapest smooth pair, in the same round. Time is that of the thread
on a processor, which other programs do not change much. The script prints a table and writes JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

import proxconnect as pc
from proxconnect.base.files import written_whole
from proxconnect.base.table import Table
from proxconnect.trainer import origin

RESULTS = Path("docs/results/data/repaired_pairs.json")
REFERENCE = "poly+"
CATALOGUE = ("bc", "hardtanh", "poly+", "ede+", "bnn++", "reste+")
WARM_UP = 5

SLOPES: dict[str, Callable[[Tensor, float], Tensor]] = {
    "polynomial": lambda w, mu: mu * (2 - 2 * (mu * w).abs()).clamp(min=0),
    "clipped line": lambda w, mu: mu * ((mu * w).abs() <= 1).to(w),
    "arctan": lambda w, mu: 2 / math.pi * mu / (1 + (mu * w) ** 2),
    "arctan, not scaled by mu": lambda w, mu: 1 / (1 + (mu * w) ** 2),
    "tanh": lambda w, mu: mu * (1 - torch.tanh(mu * w) ** 2),
}


def pairs() -> dict[str, pc.ForwardBackward]:
    """Make the pairs to compare, by their labels."""
    found = {name: pc.method(name) for name in CATALOGUE}
    sign = pc.method("bc").forward
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # repair says where F ends
        for name, slope in SLOPES.items():
            own = pc.ForwardBackward(sign, slope, name)
            found[f"sign, {name}"] = own
            found[f"{name}, repaired"] = pc.repair(own)
    return found


def binarized(pair: pc.ForwardBackward, rows: int, columns: int) -> nn.Module:
    """Make a binarized layer in the middle of its training."""
    torch.manual_seed(0)
    layer = nn.Linear(columns, rows, bias=False)
    pc.binarize_(layer, pc.BinarizeConfig(pair), filter_fn=lambda module, name: True)
    pc.MuSchedule(layer, "constant", start=3.0)
    return layer


def seconds(layer: nn.Module, gradient: Tensor) -> float:
    """Measure the weight, forward and backward."""
    start = time.thread_time()
    torch.autograd.grad(layer.weight, list(layer.parameters()), gradient)
    return time.thread_time() - start


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for option, default in (("rows", 1024), ("columns", 1152), ("rounds", 40)):
        parser.add_argument(f"--{option}", type=int, default=default)
    options = parser.parse_args()
    torch.set_num_threads(1)
    layers = {name: binarized(pair, options.rows, options.columns) for name, pair in pairs().items()}
    gradient = torch.randn(options.rows, options.columns)
    times: dict[str, list[float]] = {name: [] for name in layers}
    order = list(layers)
    shuffle = random.Random(0).shuffle
    for _ in range(WARM_UP + options.rounds):
        shuffle(order)
        for name in order:
            times[name].append(seconds(layers[name], gradient))
    rows = {}
    for name, measured in times.items():
        ratios = [a / b for a, b in zip(measured, times[REFERENCE], strict=True)][WARM_UP:]
        rows[name] = {"seconds": statistics.median(measured[WARM_UP:]), "ratio": statistics.median(ratios)}
    cells = [[name, f"{1e3 * row['seconds']:.2f}", f"{row['ratio']:.2f}"] for name, row in rows.items()]
    print(Table(("pair", "ms", f"times {REFERENCE}"), cells, numbers=("ms", f"times {REFERENCE}")))
    with written_whole(RESULTS) as file:
        file.write_text(
            json.dumps({"options": vars(options), "pairs": rows, "origin": origin()}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
