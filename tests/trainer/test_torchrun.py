"""Runs under torchrun: several processes, sharded models, other hardware at resumption, elastic restarts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
import torch.distributed as dist
from looking import every, same_tensors

from proxconnect.errors import TrainingError
from proxconnect.trainer import TrainConfig, read_checkpoint, resume, train

OPTIONS: dict[str, Any] = {
    "model": "resnet8", "data": "digits", "method": "bnn", "latent_clip": 1.0, "batch_size": 64,
    "optimizer": "sgd", "lr": 0.05,  # adam follows roundings of gradients that are 0
    "epochs": 2, "limit_train_batches": 2, "limit_val_batches": 1, "accelerator": "cpu",
}  # fmt: skip
# No BatchNorm, so that a model sees the same of a batch in one process and in several.
SEVERAL = {**OPTIONS, "model": "vit-mini"}
ONE = {
    "TORCHELASTIC_RUN_ID": "none", "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1",
    "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29512",
}  # fmt: skip


def quiet(line: str) -> None:
    pass


@pytest.fixture(autouse=True)
def own_environment() -> Iterator[None]:
    """Undo what Lightning leaves in the process: variables, and the group of processes."""
    with mock.patch.dict(os.environ):
        yield
    if dist.is_initialized():
        dist.destroy_process_group()


def interrupted(out: Path, **options: Any) -> None:
    """Train one of two epochs."""

    def stop(line: str) -> None:
        if line.startswith("epoch 2/"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(TrainConfig(**{**OPTIONS, **options}), out, show=stop)
    assert read_checkpoint(out).epoch == 1


def check_close(found: Path, expected: Path) -> None:
    ours, theirs = (read_checkpoint(out).weights for out in (found, expected))
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rule", ["pc", pytest.param("pq", marks=pytest.mark.full)])
def test_a_sharded_run_goes_on_without_shards_and_the_other_way_round(rule: str, tmp_path: Path) -> None:
    options = {"rule": rule, "method": "bc", "latent_clip": None}
    interrupted(tmp_path / "shards", **options, strategy="fsdp2")
    interrupted(tmp_path / "whole", **options)
    for name, strategy in (("shards", "auto"), ("whole", "fsdp2")):
        run = resume(tmp_path / name, {"strategy": strategy}, show=quiet)
        assert run.config.strategy == strategy
        assert every(type(parameter.data) is torch.Tensor for parameter in run.model.parameters())
    check_close(tmp_path / "shards", tmp_path / "whole")
    states = [
        torch.load(tmp_path / name / "checkpoint", weights_only=True)["optimizer_states"][0]
        for name in ("shards", "whole")
    ]
    assert states[0]["state"].keys() == states[1]["state"].keys()
    assert [group["params"] for group in states[0]["param_groups"]] == [
        group["params"] for group in states[1]["param_groups"]
    ]


def test_a_restarted_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    plain, out = tmp_path / "plain", tmp_path / "run"
    train(TrainConfig(**OPTIONS), plain, show=quiet)
    named = {**ONE, "TORCHELASTIC_RUN_ID": "run-a"}
    with mock.patch.dict(os.environ, named):
        interrupted(out)
    other = mock.patch.dict(os.environ, {**named, "TORCHELASTIC_RUN_ID": "run-b"})
    with other, pytest.raises(TrainingError, match="is not empty"):
        train(TrainConfig(**OPTIONS), out, show=quiet)
    with mock.patch.dict(os.environ, named):
        train(TrainConfig(**OPTIONS), out, show=quiet)
    assert same_tensors(read_checkpoint(out).weights, read_checkpoint(plain).weights)


def test_a_restart_before_the_first_checkpoint_begins_anew(tmp_path: Path) -> None:
    out = tmp_path / "run"
    interrupted(out)
    (out / "checkpoint").unlink()
    with pytest.raises(TrainingError, match="is not empty"):
        train(TrainConfig(**OPTIONS), out, show=quiet)
    with mock.patch.dict(os.environ, {**ONE, "TORCHELASTIC_RESTART_COUNT": "1"}):
        train(TrainConfig(**{**OPTIONS, "epochs": 1}), out, show=quiet)
    assert read_checkpoint(out).epoch == 1


def test_a_restart_leaves_a_folder_of_other_files_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with (
        mock.patch.dict(os.environ, {**ONE, "TORCHELASTIC_RESTART_COUNT": "1"}),
        pytest.raises(TrainingError, match="is not empty"),
    ):
        train(TrainConfig(**OPTIONS), tmp_path, show=quiet)


@pytest.mark.parametrize(
    ("environment", "options", "words"),
    [
        ({"WORLD_SIZE": "4"}, {"devices": 2}, "torchrun started 4 processes, and --devices is 2; leave it"),
        ({"WORLD_SIZE": "4"}, {"batch_size": 3}, "batch_size 3 leaves some of 4 devices"),
        ({}, {"strategy": "fsdp2", "compile": True}, "compile does not go with strategy 'fsdp2'"),
        ({}, {"strategy": "fsdp2", "precision": "auto"}, "takes precision '32' or 'bf16', not 'auto'"),
    ],
)
def test_refuses(environment: dict[str, str], options: dict[str, Any], words: str, tmp_path: Path) -> None:
    with (
        mock.patch.dict(os.environ, {**ONE, **environment}),
        pytest.raises(TrainingError, match=words),
    ):
        train(TrainConfig(**{**OPTIONS, **options}), tmp_path / "run", show=quiet)
    assert not (tmp_path / "run").exists()


# The rest starts processes of its own.

KILLED = """
import os, signal, sys, threading, time
from pathlib import Path
from proxconnect.cli.app import run

def kill_when_saved(file):
    while not file.exists():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)

restarted = os.environ["TORCHELASTIC_RESTART_COUNT"] != "0"
if os.environ["RANK"] == "1" and not restarted:
    place = Path(sys.argv[sys.argv.index("--out") + 1]) / "checkpoint"
    threading.Thread(target=kill_when_saved, args=(place,), daemon=True).start()
elif os.environ["RANK"] == "1":
    time.sleep(10)  # the other process is first, and must not take an old address for this one's
sys.exit(run(sys.argv[1:]))
"""


def torchrun(processes: int, *arguments: str, script: Path | None = None, restarts: int = 0) -> str:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={processes}", f"--max-restarts={restarts}"]
    command += [str(script)] if script else ["-m", "proxconnect"]
    done = subprocess.run(
        [*command, "train", *arguments], capture_output=True, text=True, timeout=1500, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def words(**changes: Any) -> list[str]:
    values = {**SEVERAL, **changes}
    return [word for name, value in values.items() for word in (f"--{name.replace('_', '-')}", str(value))]


@pytest.fixture(scope="module", params=["ddp", "fsdp2"])
def strategy(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def of_two(strategy: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Train with two processes; what they printed comes with the folder."""
    out = tmp_path_factory.mktemp(strategy) / "run"
    return out, torchrun(2, *words(strategy=strategy), "--out", str(out))


@pytest.mark.full
def test_processes_of_torchrun_train_as_one_does(of_two: tuple[Path, str], tmp_path: Path) -> None:
    out, printed = of_two
    train(TrainConfig(**SEVERAL), tmp_path / "plain", show=quiet)
    assert printed.count("validation accuracy: ") == 1
    check_close(out, tmp_path / "plain")
    assert (out / "model.safetensors").is_file()


@pytest.mark.full
def test_a_killed_process_is_replaced_and_the_result_is_the_same(
    strategy: str, of_two: tuple[Path, str], tmp_path: Path
) -> None:
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    out = tmp_path / "killed"
    printed = torchrun(2, *words(strategy=strategy), "--out", str(out), script=script, restarts=1)
    assert "continues after epoch 1 of 2" in printed
    whole, killed = (read_checkpoint(folder).weights for folder in (of_two[0], out))
    assert same_tensors(whole, killed)


@pytest.mark.full
def test_two_processes_go_on_on_four_and_on_one(tmp_path: Path) -> None:
    out = tmp_path / "run"
    torchrun(2, *words(strategy="fsdp2"), "--out", str(out))
    torchrun(4, "--resume", str(out), "--epochs", "3")
    run = resume(out, {"epochs": 4, "strategy": "auto", "devices": 1}, show=quiet)
    assert read_checkpoint(out).epoch == 4
    assert run.config.devices == 1
