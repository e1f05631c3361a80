"""The time of each operator of a loaded network."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from torch import Tensor

from proxconnect.engine import Network
from proxconnect.graph import node_seconds

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
    found: defaultdict[str, list[float]] = defaultdict(list)
    for node, seconds in node_seconds(lambda observer: network.observe_fused(inputs, observer), rounds):
        found[node.op].append(seconds)
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
