"""The group of processes after torchrun started them anew."""

from __future__ import annotations

import os

import torch
import torch.distributed as dist

from proxconnect.trainer._process import is_restarted, machines


def join_again(device: torch.device) -> None:
    """Join the processes of a restart of torchrun on one machine; do nothing in any other run.

    All starts share torchrun's store of addresses. Without names of its own, a process of a restart that is
    quicker than the others reads the address of a process that is gone, and cannot connect.

    Args:
        device: the device that this process trains on.
    """
    shared = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    # On several machines the number of restarts differs from machine to machine.
    if not (shared and is_restarted() and machines() == 1 and processes > 1) or dist.is_initialized():
        return
    address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = dist.TCPStore(*address, processes)  # type: ignore[attr-defined]
    name = f"restart {os.environ['TORCHELASTIC_RESTART_COUNT']}"
    dist.init_process_group(
        dist.get_default_backend_for_device(device),
        store=dist.PrefixStore(name, store),  # type: ignore[attr-defined]
        rank=int(os.environ["RANK"]),
        world_size=processes,
    )
