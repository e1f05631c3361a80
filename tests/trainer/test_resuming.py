"""Finished runs say that they are, and longer ones go on along the curves of the longer run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from proxconnect.errors import TrainingError
from proxconnect.optim import SCHEDULES, MuSchedule, learning_rate_factor
from proxconnect.trainer import TrainConfig, read_checkpoint, resume, train
from proxconnect.trainer.resuming import finished_result

LATE = SCHEDULES["late"]


@pytest.fixture
def finished(finished_runs: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished_runs / "bw", tmp_path / "run")


def test_a_finished_run_has_its_result(finished: Path) -> None:
    recorded = json.loads((finished / "result.json").read_text())
    assert finished_result(finished, {}) == recorded
    assert finished_result(finished, {"epochs": 1, "seed": 0}) == recorded
    assert finished_result(finished, {"epochs": 2}) is None
    (finished / "result.json").write_text("{")
    assert finished_result(finished, {}) is None  # killed while it was written


def test_an_extended_run_goes_on_along_the_longer_curves(finished: Path) -> None:
    lines: list[str] = []
    run = resume(finished, {"epochs": 2}, show=lines.append)
    peak, mu = 2e-3, LATE(1, 300, 3 / 5)  # 3 of 6 steps are done; mu reaches its end after 5, 85 % of them
    rate = peak * learning_rate_factor(3, 6)
    assert lines[:2] == [
        "extended from 1 to 2 epochs, and the curves with it: behind epoch 1 the learning rate goes from 0 "
        f"to {rate:.3g}, mu from 300 to {mu:.3g}, as in a run of 2 epochs",
        "continues after epoch 1 of 2",
    ]
    assert any(line.startswith("epoch 2/2") for line in lines)
    assert read_checkpoint(finished).epoch == read_checkpoint(finished).config.epochs == 2
    assert json.loads((finished / "config.json").read_text())["epochs"] == 2
    assert run.metrics["mu"] == 300
    # The result and the packed model of the shorter run are gone until the command packs again.
    assert not (finished / "result.json").exists()
    assert not (finished / "model.safetensors").exists()
    assert finished_result(finished, {}) is None


def test_the_steps_of_an_extended_run_are_those_of_the_longer_curves(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[float, float]] = []

    class Watched(torch.optim.Adam):
        def step(self, closure: object = None) -> None:  # type: ignore[override]
            seen.append((self.param_groups[0]["lr"], schedules[-1].mu))
            super().step(closure)  # type: ignore[arg-type]

    schedules: list[MuSchedule] = []

    class Remembered(MuSchedule):
        def __init__(self, *arguments: object, **options: object) -> None:
            super().__init__(*arguments, **options)  # type: ignore[arg-type]
            schedules.append(self)

    monkeypatch.setattr(torch.optim, "Adam", Watched)
    monkeypatch.setattr("proxconnect.trainer.module.MuSchedule", Remembered)
    resume(finished, {"epochs": 2}, show=str)
    rates, sharpness = zip(*seen, strict=True)
    assert rates == pytest.approx([2e-3 * learning_rate_factor(step, 6) for step in (3, 4, 5)])
    assert sharpness == pytest.approx([LATE(1, 300, step / 5) for step in (3, 4, 5)])


def test_an_extension_that_was_killed_is_continued(finished: Path) -> None:
    def stop(line: str) -> None:
        if line.startswith("epoch"):
            raise KeyboardInterrupt

    with pytest.raises(
        KeyboardInterrupt, match="after epoch 1 of 2; continue with: proxconnect train --resume"
    ):
        resume(finished, {"epochs": 2}, show=stop)
    lines: list[str] = []
    resume(finished, {}, show=lines.append)
    assert lines[0] == "continues after epoch 1 of 2"
    assert read_checkpoint(finished).epoch == 2


@pytest.mark.parametrize(
    ("epochs", "words"),
    [(0, "--epochs 0 would shorten it"), (2, "3 epochs, of which 3 are done: --epochs 2 would shorten it")],
)
def test_a_run_is_not_shortened(epochs: int, words: str, finished: Path) -> None:
    content = torch.load(finished / "checkpoint", weights_only=True)
    content["proxconnect"]["config"].update(epochs=3, init="fp")
    torch.save({**content, "epoch": 2}, finished / "checkpoint")
    with pytest.raises(TrainingError, match=words):
        resume(finished, {"epochs": epochs}, show=str)


def test_what_was_not_trained_is_not_extended(finished: Path) -> None:
    content = torch.load(finished / "checkpoint", weights_only=True)
    content["proxconnect"]["config"].update(epochs=0, init="fp")
    torch.save({**content, "epoch": -1}, finished / "checkpoint")
    with pytest.raises(TrainingError, match="has no training to extend; start a new run with --init"):
        resume(finished, {"epochs": 3}, show=str)


def test_a_run_in_stages_is_not_extended(tmp_path: Path) -> None:
    values = {"model": "resnet8", "data": "digits", "limit_train_batches": 1, "limit_val_batches": 1}
    config = TrainConfig(**values, epochs=1, stages="weights:1")
    train(config, tmp_path / "run", show=str)
    with pytest.raises(TrainingError, match="stages 'weights:1' have 1 epochs together, but epochs is 2"):
        resume(tmp_path / "run", {"epochs": 2}, show=str)
