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


def divided() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(4)))
    model[2].weight = model[1].weight
    mesh = init_device_mesh("cpu", (1,))
    fully_shard(model[0], mesh=mesh)
    return fully_shard(model, mesh=mesh)


@pytest.mark.usefixtures("one_process")
def test_a_divided_model_is_binarized_in_place() -> None:
    model, x = divided(), torch.randn(5, 4)
    plain = nn.Sequential(*(nn.Linear(4, 4) for _ in range(4)))
    plain[2].weight = plain[1].weight
    plain.load_state_dict({name: value.full_tensor() for name, value in model.state_dict().items()})
    parameters = [*model.parameters()]
    model(x)  # what is the root's stays whole from here on
    for each in (model, plain):
        pc.binarize_(each, pc.BinarizeConfig("bnn++", activations="bnn"))
    assert {id(each) for each in model.parameters()} == {id(each) for each in parameters}
    assert model[1].parametrizations.weight.original is model[2].parametrizations.weight.original
    found, expected = model(x), plain(x)
    assert torch.equal(found, expected)
    for result in (found, expected):
        result.square().sum().backward()
    for (name, parameter), (same, other) in zip(
        model.named_parameters(), plain.named_parameters(), strict=True
    ):
        assert name == same
        assert torch.equal(gathered(parameter.grad), other.grad)
    model.load_state_dict({name: 2 * value for name, value in model.state_dict().items()})
    plain.load_state_dict({name: 2 * value for name, value in plain.state_dict().items()})
    assert torch.equal(model(x), plain(x))


@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize(
    ("config", "part", "words"),
    [
        (pc.BinarizeConfig("bnn", learn_scale=True), "", "learn_scale=True gives layer '1' a new parameter"),
        (
            pc.BinarizeConfig("bnn", activations="bnn", learn_thresholds=True),
            "",
            "call binarize_ before fully",
        ),
        (pc.BinarizeConfig("bnn"), "1", r"weights of 'weight' of the model lie in parts .*\(DTensor\)"),
    ],
)
def test_what_fully_shard_could_not_follow_is_refused(
    config: pc.BinarizeConfig, part: str, words: str
) -> None:
    model = divided()
    names = [name for name, _ in model.named_parameters()]
    with pytest.raises(pc.ProxConnectError, match=words):
        pc.binarize_(model.get_submodule(part), config, lambda module, name: True if part else name == "1")
    assert [name for name, _ in model.named_parameters()] == names


@pytest.mark.usefixtures("one_process")
def test_notes_that_cannot_be_read_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxconnect.layers._fully_shard._places", lambda note: [note.no_such_name])
    with pytest.raises(pc.ProxConnectError, match=r"FSDPModule.*: call binarize_ before"):
        pc.binarize_(divided(), pc.BinarizeConfig("bnn"))


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
