"""``proxconnect train`` without a model, data or a folder: it says what it takes for them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proxconnect.cli.app import run

SHORT = ["--epochs", "1", "--limit-train-batches", "2", "--limit-val-batches", "1"]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_train_alone_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", *SHORT]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[:2] == [
        "not given, so taken: --model resnet20, --data digits",
        "the run goes to runs/resnet20-bw-bnn++-s0",
    ]
    result = json.loads(Path("runs/resnet20-bw-bnn++-s0/result.json").read_text())
    assert (result["config"]["model"], result["config"]["data"]) == ("resnet20", "digits")
    assert run(["train", *SHORT]) == 2  # the folder of a run is never used twice
    assert "runs/resnet20-bw-bnn++-s0 is not empty" in capsys.readouterr().err


def test_quiet_prints_the_result_alone(capsys: pytest.CaptureFixture[str]) -> None:
    start = ["train", *SHORT, "--model", "resnet8", "--quiet"]
    assert run([*start, "--setting", "fp", "--seed", "3"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("validation accuracy: ")
    assert second.startswith("runs/resnet8-fp-s3/model.safetensors: ")
    assert run(["train", *SHORT, "--quiet", "--init", "runs/resnet8-fp-s3", "--method", "bc"]) == 0
    assert "runs/resnet8-bw-bc-s0/model.safetensors: " in capsys.readouterr().out


def test_a_run_that_cannot_start_leaves_no_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "--init", "runs/none"]) == 2
    assert "no checkpoint at runs/none" in capsys.readouterr().err
    assert run(["train", "--method", "bnnn"]) == 2
    assert "did you mean 'bnn'" in capsys.readouterr().err
    assert not Path("runs").exists()
