"""Sharded training, saved and loaded by torch.distributed.checkpoint on 1, 2 and 4 processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

import proxconnect as pc
from proxconnect.layers import binarized_weights
from proxconnect.layers._sharded import beside, gathered, is_sharded, own_part

SCRIPT = Path(__file__).parent / "sharded_training.py"


@pytest.fixture
def one_process() -> Iterator[None]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("one_process")
def test_latents_in_parts_are_gathered_and_compute_with_scales() -> None:
    model = pc.binarize_(nn.Linear(4, 3), pc.BinarizeConfig("bnn"), lambda module, name: True)
    (before,) = (found.latent.detach().clone() for found in binarized_weights(model))
    scale = next(binarized_weights(model)).quantizer.latent_scale
    assert (beside(scale, before) is scale, gathered(before) is before) == (True, True)
    (found,) = binarized_weights(fully_shard(model, mesh=init_device_mesh("cpu", (1,))))
    assert is_sharded(found.latent)
    assert not is_sharded(found.whole_latent)
    assert torch.equal(found.whole_latent, before)
    assert torch.equal(own_part(found.latent / beside(scale, found.latent)), before / scale)
    report = pc.optim.layer_statistics(model)
    assert 0 <= report["weight"]["level_distance"] <= 2


def run(processes: int, folder: Path, step: str) -> str:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={processes}", str(SCRIPT), str(folder), step]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.full
@pytest.mark.parametrize("saved", [1, 2, 4])
def test_any_number_of_processes_continues_what_another_number_saved(saved: int, tmp_path: Path) -> None:
    """The scripts compare, in float64: latents within 1e-10 of those of one process without shards."""
    run(saved, tmp_path, "save")
    for loaded in (1, 2, 4):
        assert run(loaded, tmp_path, "load").count("equal") == 4
