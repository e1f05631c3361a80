"""Training in two processes with half a batch each, beside one process with the joint batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

import proxconnect as pc


def batch(step: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(step)
    return torch.randn(8, 4, dtype=torch.float64, generator=generator), torch.arange(8) % 3


def train(network: nn.Module, rule: str, steps: int, rank: int | None) -> None:
    """Take a few steps, on the whole batch or on the half of one rank."""
    base = torch.optim.SGD(pc.param_groups(network, lr=0.1), momentum=0.9)
    optimizer = pc.ProxOptimizer(base, network, rule)
    schedule = pc.MuSchedule(network, "linear", start=1, end=4, steps=steps)
    for step in range(steps):
        inputs, labels = batch(step)
        if rank is not None:
            inputs, labels = inputs[rank::2], labels[rank::2]
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(inputs), labels).backward()
        optimizer.step()
        schedule.step()


@contextmanager
def both_processes(rank: int, store: Path) -> Iterator[None]:
    """Join two processes, which meet at a file."""
    dist.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=2, timeout=timedelta(minutes=10)
    )
    try:
        yield
    finally:
        dist.destroy_process_group()
