"""Measure what a repaired pair costs in training, beside the pairs of the catalogue.

    python benchmarks/repaired_pairs.py [--rows 1024] [--columns 1152] [--rounds 40]

The cost is that of a layer's quantized weight, forward and backward, on one thread. Each round measures every
pair twice, in an order that changes from round to round: with the sharpness of the round before, and with one
that no pair has seen. The ratio is the median over the rounds of the cost of a pair to that of ``poly+``, the
cheapest smooth pair, in the same round. Time is that of the thread on a processor. The script puts
the figures of this machine beside those of other processors in ``docs/results/data/repaired_pairs.json``, and
writes ``docs/results/repaired_pairs.md``.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from _results import add_run
from _rounds import ratio
from torch import Tensor, nn

import proxconnect as pc
from proxconnect.base.table import Table
from proxconnect.trainer import origin

NAME = "repaired_pairs"
REFERENCE = "poly+"
CATALOGUE = ("bc", "hardtanh", "poly+", "ede+", "bnn++", "reste+")
WARM_UP = 5

SLOPES: dict[str, Callable[[Tensor, float], Tensor]] = {
    "polynomial": lambda w, mu: mu * (2 - 2 * (mu * w).abs()).clamp(min=0),
    "clipped line": lambda w, mu: mu * ((mu * w).abs() <= 1).to(w),
    "arctan": lambda w, mu: 2 / math.pi * mu / (1 + (mu * w) ** 2),
    "arctan, not scaled by mu": lambda w, mu: 1 / (1 + (mu * w) ** 2),
    "tanh": lambda w, mu: mu * (1 - torch.tanh(mu * w) ** 2),
    "tanh around 0.3": lambda w, mu: mu * (1 - torch.tanh(mu * (w - 0.3)) ** 2),
}

PROTOCOL = """\
`pc.repair` keeps the backward quantizer of a pair, a function of the user's in torch, and makes its integral
the forward quantizer. In training, layers read both from tables in compiled code. This page compares what
that costs with the pairs of the catalogue, whose formulas are compiled, and with the pair that was repaired,
which runs in torch. The cost is that of the quantized weight of a layer, forward and backward, on one thread.

- *mu still* is the time at a sharpness that the pair has computed with before. *mu moves* is the time at a
  new one, as every step of a schedule brings it.
- Ratios are medians, over the rounds, of the time of a pair divided by that of `poly+` in the same round,
  with their 95 % intervals. `poly+` is the cheapest smooth pair.
- Where `mu` scales `B` and its argument, one table serves every `mu`. `tanh around 0.3` is not of this kind,
  so each `mu` needs its own table. The time to make it does not depend on the number of weights, and all
  layers with the pair share it.
"""


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


def seconds(layer: nn.Module, gradient: Tensor, mu: float) -> float:
    """Measure the weight at this sharpness, forward and backward."""
    layer.parametrizations["weight"][0].mu.fill_(mu)
    start = time.thread_time()
    torch.autograd.grad(layer.weight, list(layer.parameters()), gradient)
    return time.thread_time() - start


def measured(rows: int, columns: int, rounds: int) -> dict[str, dict[str, dict[str, Any]]]:
    """Measure every pair, and compare it with the reference."""
    layers = {name: binarized(pair, rows, columns) for name, pair in pairs().items()}
    gradient = torch.randn(rows, columns)
    times: dict[str, dict[str, list[float]]] = {
        moves: {name: [] for name in layers} for moves in ("still", "moves")
    }
    shuffle = random.Random(0).shuffle
    for k in range(WARM_UP + rounds):
        for moves, mu in (("still", 3.0 + k / 1024), ("moves", 3.0 + (k + 1) / 1024)):
            order = list(layers)
            shuffle(order)
            for name in order:
                times[moves][name].append(seconds(layers[name], gradient, mu))
    kept = {
        moves: {name: seconds[WARM_UP:] for name, seconds in those.items()} for moves, those in times.items()
    }
    return {
        name: {
            moves: {
                "seconds": statistics.median(those[name]),
                "ratio": ratio(those[name], those[REFERENCE]),
            }
            for moves, those in kept.items()
        }
        for name in layers
    }


def page(report: dict[str, Any]) -> str:
    """Write the page of the results."""
    source = (
        f"`python benchmarks/{NAME}.py` adds a machine to `data/{NAME}.json` and makes this page from it."
    )
    lines = ["# What a repaired pair costs in training", "", PROTOCOL, source, ""]
    for run in report["runs"]:
        facts = "{processor}, {cores} cores, PyTorch {torch}".format(**run["origin"])
        sizes = f"{run['rows'] * run['columns']:,} weights, {run['rounds']} rounds"
        lines += [f"## {run['origin']['processor']}", "", f"{facts}; {sizes}.", "", table(run), ""]
    return "\n".join(lines)


def table(run: dict[str, Any]) -> str:
    """Write the figures of one machine."""
    columns = ("pair", "mu still, ms", "times `poly+`", "mu moves, ms", "times `poly+`")
    rows = []
    for name, row in run["pairs"].items():
        cells = []
        for moves in ("still", "moves"):
            median, low, high = row[moves]["ratio"]
            interval = "" if low is None else f" ({low:.2f} to {high:.2f})"  # the first runs kept none
            cells += [f"{1e3 * row[moves]['seconds']:.2f}", f"{median:.2f}{interval}"]
        rows.append([name, *cells])
    return Table(columns, rows, numbers=columns[1:]).markdown()


def main() -> None:
    """Measure this machine, in place of an earlier run on such a processor, and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for option, default in (("rows", 1024), ("columns", 1152), ("rounds", 40)):
        parser.add_argument(f"--{option}", type=int, default=default)
    options = vars(parser.parse_args())
    torch.set_num_threads(1)
    run = {**options, "pairs": measured(**options), "origin": origin()}
    report = add_run(NAME, run, lambda run: run["origin"]["processor"], page)
    print(page(report))


if __name__ == "__main__":
    main()
