"""Two processes with half a batch each against one process with the joint batch.

``python ddp_rules.py RANK STORE`` is one of the two.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import proxconnect as pc
from proxconnect.layers import binarized_weights

RULES = (("pc", "bc"), ("pc", "bnn++"), ("pc", "parq"), ("rpc", "pc"), ("pq", "bc"), ("fp", "bnn++"))
STEPS = 12


def batch(step: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(step)
    return torch.randn(8, 4, dtype=torch.float64, generator=generator), torch.arange(8) % 3


def trained(rule: str, method: str, *, rank: int | None) -> nn.Module:
    """Train a small network for a few steps, on the whole batch or on the half of one rank."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    pc.binarize_(model, pc.BinarizeConfig(method))
    network: nn.Module = model if rank is None else DistributedDataParallel(model)
    base = torch.optim.SGD(pc.param_groups(network, lr=0.1), momentum=0.9)
    optimizer = pc.ProxOptimizer(base, network, rule)
    schedule = pc.MuSchedule(network, "linear", start=1, end=4, steps=STEPS)
    for step in range(STEPS):
        inputs, labels = batch(step)
        if rank is not None:
            inputs, labels = inputs[rank::2], labels[rank::2]
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(inputs), labels).backward()
        optimizer.step()
        schedule.step()
    return model


def compared(rank: int, store: Path) -> list[tuple[str, str]]:
    """Train as one of two processes that meet at a file, and compare; return the rules."""
    dist.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=2, timeout=timedelta(minutes=10)
    )
    try:
        for rule, method in RULES:
            model = trained(rule, method, rank=rank)
            joint = trained(rule, method, rank=None)
            for parameter, expected in zip(model.parameters(), joint.parameters(), strict=True):
                torch.testing.assert_close(parameter, expected, rtol=1e-12, atol=1e-12)
            for found, alone in zip(binarized_weights(model), binarized_weights(joint), strict=True):
                assert torch.equal(found.latent >= 0, alone.latent >= 0)
    finally:
        dist.destroy_process_group()
    return [*RULES]


if __name__ == "__main__":
    compared(int(sys.argv[1]), Path(sys.argv[2]))
