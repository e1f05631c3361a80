"""Two processes that call ``fully_shard`` before ``binarize_``, against one process with the joint batch.

``python divided_first.py RANK STORE`` is one of the two.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from halves import batch, both_processes, train
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

import proxconnect as pc
from proxconnect.layers import binarized_weights

RULES = (("pc", "bnn++"), ("rpc", "pc"))
STEPS = 6


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
    train(model, rule, STEPS, rank)
    return model


def compared(rank: int, store: Path) -> int:
    """Train as one of two processes that meet at a file, and compare; count the weights in parts."""
    parts = 0
    with both_processes(rank, store):
        for rule, method in RULES:
            model, joint = (trained(rule, method, rank=each) for each in (rank, None))
            whole = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True))
            for name, expected in joint.state_dict().items() if rank == 0 else ():
                torch.testing.assert_close(whole[name], expected, rtol=1e-10, atol=1e-10)
            parts += sum(
                each.latent.to_local().shape != each.whole_latent.shape for each in binarized_weights(model)
            )
    return parts


if __name__ == "__main__":
    compared(int(sys.argv[1]), Path(sys.argv[2]))
