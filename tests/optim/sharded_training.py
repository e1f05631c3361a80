"""Run by torchrun: sharded training, saved and loaded by torch.distributed.checkpoint.

``FOLDER save`` trains the first half and saves it. ``FOLDER load`` loads it, on any number of processes,
trains the rest, and compares with one process that trains all on the joint batch.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_state_dict,
    set_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

import proxconnect as pc
from proxconnect.layers import binarized_weights
from proxconnect.optim import latent_histogram, layer_statistics

RULES = (("pc", "bnn"), ("pc", "bnn++"), ("rpc", "pc"), ("pq", "bc"))
STEPS = 12


def batch(step: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(step)
    return torch.randn(8, 4, dtype=torch.float64, generator=generator), torch.arange(8) % 3


class Training:
    """A small network, its optimizer and its schedule; ``sharded`` divides it among the processes."""

    def __init__(self, rule: str, method: str, *, sharded: bool) -> None:
        torch.manual_seed(0)
        # 7 rows do not go round among 2 or 4 processes.
        self.model = nn.Sequential(
            nn.Linear(4, 7), nn.Tanh(), nn.Linear(7, 7), nn.Tanh(), nn.Linear(7, 3)
        ).double()
        pc.binarize_(self.model, pc.BinarizeConfig(method))
        if sharded:
            mesh = init_device_mesh("cpu", (dist.get_world_size(),))
            fully_shard(self.model[2], mesh=mesh)
            fully_shard(self.model, mesh=mesh)
        self.base = torch.optim.Adam(pc.param_groups(self.model, lr=0.05, latent_clip=1.0))
        self.optimizer = pc.ProxOptimizer(self.base, self.model, rule)
        pc.clip_latents(self.optimizer, self.model)
        self.schedule = pc.MuSchedule(self.model, "linear", start=1, end=4, steps=STEPS)
        self.share = slice(dist.get_rank(), None, dist.get_world_size()) if sharded else slice(None)

    def train(self, start: int, end: int) -> None:
        for step in range(start, end):
            inputs, labels = (each[self.share] for each in batch(step))
            self.optimizer.zero_grad()
            nn.functional.cross_entropy(self.model(inputs), labels).backward()
            self.optimizer.step()
            self.schedule.step()

    def states(self) -> dict[str, Any]:
        model, optimizer = get_state_dict(self.model, self.base)
        return {"model": model, "optimizer": optimizer}

    def save(self, folder: Path) -> None:
        dcp.save(self.states(), checkpoint_id=folder)
        if dist.get_rank() == 0:
            (folder / "schedule.json").write_text(json.dumps(self.schedule.state_dict()))

    def load(self, folder: Path) -> None:
        states = self.states()
        dcp.load(states, checkpoint_id=folder)
        set_state_dict(
            self.model, self.base, model_state_dict=states["model"], optim_state_dict=states["optimizer"]
        )
        self.schedule.load_state_dict(json.loads((folder / "schedule.json").read_text()))


def check_equal(sharded: Training, joint: Training) -> None:
    whole = get_model_state_dict(sharded.model, options=StateDictOptions(full_state_dict=True))
    for name, expected in joint.model.state_dict().items():
        if dist.get_rank() == 0:
            torch.testing.assert_close(whole[name], expected, rtol=1e-10, atol=1e-10)
    assert latent_histogram(sharded.model) == latent_histogram(joint.model)
    found, expected = (layer_statistics(each.model)["2.weight"] for each in (sharded, joint))
    for name, value in expected.items():
        assert abs(found[name] - value) < 1e-9, name
    for each in binarized_weights(sharded.model):
        assert each.latent.to_local().shape != each.whole_latent.shape or dist.get_world_size() == 1


def main() -> None:
    dist.init_process_group("gloo")
    folder = Path(sys.argv[1])
    for rule, method in RULES:
        training = Training(rule, method, sharded=True)
        place = folder / f"{rule}-{method}"
        if sys.argv[2] == "save":
            training.train(0, STEPS // 2)
            training.save(place)
            continue
        training.load(place)
        training.train(STEPS // 2, STEPS)
        joint = Training(rule, method, sharded=False)
        joint.train(0, STEPS)
        check_equal(training, joint)
        if dist.get_rank() == 0:
            print(f"{rule} {method}: equal")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
