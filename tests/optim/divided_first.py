"""Two processes that call ``fully_shard`` before ``binarize_``, against one process with the joint batch.

``python divided_first.py RANK STORE`` is one of the two.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

import proxconnect as pc
from proxconnect.layers import binarized_weights

RULES = (("pc", "bnn++"), ("rpc", "pc"))
STEPS = 6


def batch(step: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(step)
    return torch.randn(8, 4, dtype=torch.float64, generator=generator), torch.arange(8) % 3


def trained(rule: str, method: str, *, rank: int | None) -> nn.Module:
    """Train a small network for a few steps, on the whole batch or on the half of one rank."""
    torch.manual_seed(0)
    # 7 rows do not go round among 2 processes.
    model = nn.Sequential(
        nn.Linear(4, 7), nn.Tanh(), nn.Linear(7, 7), nn.Linear(7, 7), nn.Linear(7, 3)
    ).double()
    if rank is not None:
        mesh = init_device_mesh("cpu", (2,))
        fully_shard(model[2], mesh=mesh)
        fully_shard(model, mesh=mesh)
        model(batch(0)[0])  # the weights that are the root's stay whole
    pc.binarize_(model, pc.BinarizeConfig(method))
    base = torch.optim.SGD(pc.param_groups(model, lr=0.1), momentum=0.9)
    optimizer = pc.ProxOptimizer(base, model, rule)
    schedule = pc.MuSchedule(model, "linear", start=1, end=4, steps=STEPS)
    for step in range(STEPS):
        inputs, labels = batch(step)
        if rank is not None:
            inputs, labels = inputs[rank::2], labels[rank::2]
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
        schedule.step()
    return model


def compared(rank: int, store: Path) -> int:
    """Train as one of two processes that meet at a file, and compare; count the weights in parts."""
    dist.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=2, timeout=timedelta(minutes=10)
    )
    parts = 0
    try:
        for rule, method in RULES:
            model, joint = (trained(rule, method, rank=each) for each in (rank, None))
            whole = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True))
            for name, expected in joint.state_dict().items() if rank == 0 else ():
                torch.testing.assert_close(whole[name], expected, rtol=1e-10, atol=1e-10)
            parts += sum(
                each.latent.to_local().shape != each.whole_latent.shape for each in binarized_weights(model)
            )
    finally:
        dist.destroy_process_group()
    return parts


if __name__ == "__main__":
    compared(int(sys.argv[1]), Path(sys.argv[2]))
