"""The time of each operator of a loaded network."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from proxconnect.engine import Network
from proxconnect.graph import Node

# Operators of a rewritten graph that compiled kernels compute with 1-bit weights or activations.
_KERNELS = ("product", "sums", "pack")


@dataclass(frozen=True)
class OperatorTime:
    """Seconds of all calls of one operator in one run; ``one_bit`` tells whether 1-bit kernels compute it."""

    operator: str
    calls: int
    seconds: float
    share: float
    one_bit: bool


def operator_times(network: Network, inputs: tuple[Tensor, ...], rounds: int) -> tuple[OperatorTime, ...]:
    """Measure every operator in ``rounds`` runs; the medians of the sums of each kind, longest first."""
    names: list[str] = []
    seconds: list[list[float]] = []
    last = 0.0

    def observe(node: Node, args: Sequence[Any], result: Any) -> None:
        nonlocal last
        seconds[-1].append(time.perf_counter() - last)
        names.append(node.op)
        last = time.perf_counter()

    for _ in range(rounds + 1):
        names.clear()
        seconds.append([])
        last = time.perf_counter()
        network.observe_fused(inputs, observe)
    found: defaultdict[str, list[float]] = defaultdict(list)
    for name, times in zip(names, zip(*seconds[1:], strict=True), strict=True):
        found[name].append(statistics.median(times))
    whole = sum(map(sum, found.values()))
    rows = [
        OperatorTime(
            name.removeprefix("aten.").removeprefix("proxconnect.").removesuffix(".default"),
            len(times),
            sum(times),
            sum(times) / whole,
            name.startswith("proxconnect.") and name.rpartition(".")[2].startswith(_KERNELS),
        )
        for name, times in found.items()
    ]
    return tuple(sorted(rows, key=lambda row: -row.seconds))
