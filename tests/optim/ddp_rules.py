"""Two processes with half a batch each against one process with the joint batch.

``python ddp_rules.py RANK STORE`` is one of the two.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from halves import both_processes, train
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import proxconnect as pc
from proxconnect.layers import binarized_weights

RULES = (("pc", "bc"), ("pc", "bnn++"), ("pc", "parq"), ("rpc", "pc"), ("pq", "bc"), ("fp", "bnn++"))
STEPS = 12


def trained(rule: str, method: str, *, rank: int | None) -> nn.Module:
    """Train a small network for a few steps, on the whole batch or on the half of one rank."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    pc.binarize_(model, pc.BinarizeConfig(method))
    network: nn.Module = model if rank is None else DistributedDataParallel(model)
    train(network, rule, STEPS, rank)
    return model


def compared(rank: int, store: Path) -> list[tuple[str, str]]:
    """Train as one of two processes that meet at a file, and compare; return the rules."""
    with both_processes(rank, store):
        for rule, method in RULES:
            model = trained(rule, method, rank=rank)
            joint = trained(rule, method, rank=None)
            for parameter, expected in zip(model.parameters(), joint.parameters(), strict=True):
                torch.testing.assert_close(parameter, expected, rtol=1e-12, atol=1e-12)
            for found, alone in zip(binarized_weights(model), binarized_weights(joint), strict=True):
                assert torch.equal(found.latent >= 0, alone.latent >= 0)
    return [*RULES]


if __name__ == "__main__":
    compared(int(sys.argv[1]), Path(sys.argv[2]))
