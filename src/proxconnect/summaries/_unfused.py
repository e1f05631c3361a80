"""The operators of a loaded network that torch computes one by one, with the reason and their time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from proxconnect.engine import Network
from proxconnect.graph import node_seconds

_ROUNDS = 3


@dataclass(frozen=True)
class UnfusedOperator:
    """Calls of one operator on floats that no kernel took up, for one reason.

    ``share`` is their part of the time of one run for one sample, 0 to 1.
    """

    operator: str
    calls: int
    reason: str
    share: float


def unfused_operators(network: Network, inputs: Sequence[Tensor]) -> tuple[UnfusedOperator, ...]:
    """Time the operators that a network leaves to torch, the longest first; none without kernels."""
    if not network.unfused:
        return ()
    one = tuple(x[:1] for x in inputs)
    with torch.inference_mode():
        times = node_seconds(lambda observer: network.observe_fused(one, observer), _ROUNDS)
    found: dict[tuple[str, str], list[float]] = {}
    for place, reason in network.unfused.items():
        node, seconds = times[place]
        found.setdefault((node.op.removeprefix("aten.").partition(".")[0], reason), []).append(seconds)
    whole = sum(seconds for _, seconds in times)
    rows = [
        UnfusedOperator(operator, len(seconds), reason, sum(seconds) / whole)
        for (operator, reason), seconds in found.items()
    ]
    return tuple(sorted(rows, key=lambda row: -row.share))
