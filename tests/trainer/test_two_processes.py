"""Two processes on one machine train as one does."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
import torch.distributed as dist
from looking import same_tensors

from proxconnect.cli.app import run
from proxconnect.errors import DataError, TrainingError
from proxconnect.trainer import TrainConfig, read_checkpoint, train
from proxconnect.trainer.epoch_table import read_epochs

# No BatchNorm, so that a model sees the same of a batch in one process and in two.
OPTIONS = {
    "model": "vit-mini", "data": "digits", "method": "bc", "optimizer": "sgd", "lr": 0.05, "batch_size": 63,
    "epochs": 2, "limit_train_batches": 3, "accelerator": "cpu",
}  # fmt: skip


def options() -> list[str]:
    given = [word for name, value in OPTIONS.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return [*given, "--strategy", "ddp"]


def started_by_lightning(*arguments: str) -> str:
    command = [sys.executable, "-m", "proxconnect", "train", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def started_by_hand(*arguments: str) -> None:
    """Train in two processes as torchrun does; this one is the first, since starting one takes longest."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    both = {
        "TORCHELASTIC_RUN_ID": "run", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip
    command = [sys.executable, "-m", "proxconnect", "train", *arguments]
    second = os.environ | both | {"RANK": "1", "LOCAL_RANK": "1"}
    other = subprocess.Popen(command, env=second, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        with mock.patch.dict(os.environ, both | {"RANK": "0", "LOCAL_RANK": "0"}):
            assert run(["train", *arguments]) == 0
        printed, _ = other.communicate(timeout=900)
    finally:
        other.kill()
        if dist.is_initialized():
            dist.destroy_process_group()
    assert other.returncode == 0, printed
    assert "epoch" not in printed


def test_two_processes_equal_one_with_the_joint_batch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = train(TrainConfig(**OPTIONS), tmp_path / "one", show=lambda line: None)
    started_by_hand(*options(), "--out", str(tmp_path / "two"))
    check_equals_one(capsys.readouterr().out, tmp_path, one.metrics)


@pytest.mark.full
def test_lightning_starts_two_processes(tmp_path: Path) -> None:
    one = train(TrainConfig(**OPTIONS), tmp_path / "one", show=lambda line: None)
    printed = started_by_lightning(*options(), "--devices", "2", "--out", str(tmp_path / "two"))
    check_equals_one(printed, tmp_path, one.metrics)


def check_equals_one(printed: str, tmp_path: Path, metrics: dict[str, Any]) -> None:
    epochs = [line.split("  ")[0] for line in printed.splitlines() if line.startswith("epoch")]
    assert epochs == ["epoch 1/2", "epoch 2/2"]
    assert printed.count("validation accuracy: ") == 1

    expected, found = (read_checkpoint(tmp_path / name).weights for name in ("one", "two"))
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6)
        if name.endswith("original"):
            assert torch.equal(found[name] >= 0, value >= 0)
    result = json.loads((tmp_path / "two" / "result.json").read_text())
    for key in ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "flip_rate"):
        assert result["metrics"][key] == pytest.approx(metrics[key], rel=1e-4)
    assert result["trained"]["loss"] == pytest.approx(metrics["val_loss"], rel=1e-4)
    rows = read_epochs(tmp_path / "two" / "metrics.csv")
    assert [row["step"] for row in rows] == [3, 6]
    assert rows[-1]["val_loss"] == pytest.approx(metrics["val_loss"], rel=1e-4)


INTERRUPTED = """
import sys
from pathlib import Path
from proxconnect.trainer import TrainConfig, train

def stop(line):
    if line.startswith("epoch 2/"):
        raise KeyboardInterrupt

train(TrainConfig(**{options}, devices=2, strategy="ddp"), Path(sys.argv[1]), show=stop)
"""


@pytest.mark.full
def test_two_processes_resume(tmp_path: Path) -> None:
    script = tmp_path / "interrupted.py"
    script.write_text(INTERRUPTED.format(options=OPTIONS))
    subprocess.run([sys.executable, str(script), str(tmp_path / "parts")], capture_output=True, check=False)
    assert read_checkpoint(tmp_path / "parts").epoch == 1
    started_by_lightning("--resume", str(tmp_path / "parts"))
    started_by_lightning(*options(), "--devices", "2", "--out", str(tmp_path / "whole"))
    whole, parts = (read_checkpoint(tmp_path / name).weights for name in ("whole", "parts"))
    assert same_tensors(whole, parts)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"devices": 2, "batch_size": 1}, "batch_size 1 leaves some of 2 devices without an image"),
        ({"devices": 0}, "devices must be at least 1, not 0"),
        ({"strategy": "dpd"}, "Lightning cannot train with .*--strategy dpd"),
        ({"accelerator": "abacus"}, "Lightning cannot train with --accelerator abacus"),
    ],
)
def test_refuses(values: dict[str, object], words: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=words):
        train(TrainConfig(**{**OPTIONS, **values}), tmp_path / "run", show=lambda line: None)
    assert not (tmp_path / "run").exists()


def test_refuses_a_last_batch_that_does_not_go_round(tmp_path: Path) -> None:
    config = TrainConfig(**{**OPTIONS, "batch_size": 179, "devices": 2, "strategy": "ddp"})
    with pytest.raises(DataError, match="180 images in batches of 179 leave 1 for the last: too few for 2"):
        train(config, tmp_path / "run", show=lambda line: None)
    assert not (tmp_path / "run").exists()
