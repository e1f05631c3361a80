"""A run of no epochs: the sign of a trained network."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from looking import same_tensors
from torch import Tensor

from proxconnect.cli.app import run
from proxconnect.data import Batches, ImageData, load_data, preprocessing
from proxconnect.layers import harden_, recalibrate_
from proxconnect.trainer import TrainConfig, read_checkpoint, resume, train
from proxconnect.trainer.checkpoint import DataFacts, build_model, facts_to_save


def augmented(data: ImageData, batch_size: int) -> list[Tensor]:
    """Return the batches that training gets first."""
    batches = Batches(
        data.train, batch_size, mean=data.mean, std=data.std, augmentation=data.augmentation, shuffle=True
    )
    return [images for images, _ in batches]


def test_weights_stay_and_batchnorm_settles(tmp_path: Path) -> None:
    start = TrainConfig(model="resnet8", data="digits", setting="fp", batch_size=64).resolved()
    data = load_data("digits")
    facts = DataFacts(data.classes, preprocessing(data), data.fingerprint)
    # A checkpoint as full precision leaves it, without the seconds that its training takes.
    model = build_model(start, facts)
    (tmp_path / "fp").mkdir()
    content = {
        "state_dict": {f"model.{name}": value for name, value in model.state_dict().items()},
        "epoch": 0,
        **facts_to_save(start, facts, {}),
    }
    torch.save(content, tmp_path / "fp" / "checkpoint")
    out = tmp_path / "pt"
    options = [
        "--model",
        "resnet8",
        "--method",
        "bc",
        "--epochs",
        "0",
        "--batch-size",
        "64",
        "--data",
        "digits",
    ]
    command = ["train", *options, "--init", str(tmp_path / "fp"), "--limit-train-batches", "3"]
    assert run([*command, "--out", str(out), "--json"]) == 0
    result = json.loads((out / "result.json").read_text())
    found = read_checkpoint(out)
    assert found.epoch == 0
    # Hardened and packed, scales are float16.
    assert result["packed"]["loss"] == pytest.approx(result["trained"]["loss"], rel=1e-3)
    made = found.build_model()
    expected = build_model(found.config, found.data, model.state_dict())
    deployed = harden_(copy.deepcopy(expected))
    settled = recalibrate_(deployed, augmented(data, 64)[:3]).state_dict()
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(made.state_dict()[name], settled.get(name, value))
    assert run(["train", "--resume", str(out)]) == 0


def test_recalibrated_runs_say_what_training_reached(tmp_path: Path) -> None:
    options = ["--model", "resnet8", "--data", "digits", "--epochs", "1", "--limit-train-batches", "2"]
    for name, more in {"plain": [], "settled": ["--recalibrate"]}.items():
        assert run(["train", *options, *more, "--out", str(tmp_path / name)]) == 0
    plain, settled = (
        json.loads((tmp_path / name / "result.json").read_text()) for name in ("plain", "settled")
    )
    assert settled["trained"] == pytest.approx(plain["trained"])
    assert settled["packed"] != plain["packed"]


def test_recalibrated_runs_leave_what_the_hardened_network_sees(tmp_path: Path) -> None:
    config = TrainConfig(
        model="resnet8", data="digits", epochs=2, batch_size=32, limit_train_batches=2, limit_val_batches=1
    )
    plain = train(config, tmp_path / "plain", show=str)
    run = train(replace(config, recalibrate=True), tmp_path / "settled", show=str)
    data = run.data
    deployed = harden_(copy.deepcopy(plain.model))
    settled = recalibrate_(deployed, augmented(data, 32)[:2]).state_dict()
    found, before = read_checkpoint(tmp_path / "settled"), plain.model.state_dict()
    assert found.metrics == run.metrics
    assert found.epoch == 2
    moved = 0
    for name, value in found.weights.items():
        statistic = name.endswith(("running_mean", "running_var", "num_batches_tracked"))
        torch.testing.assert_close(value, settled[name] if statistic else before[name])
        assert torch.equal(value, run.model.state_dict()[name])
        moved += statistic and not torch.equal(value, before[name])
    assert moved
    resume(tmp_path / "settled", {}, show=str)
    again = read_checkpoint(tmp_path / "settled").weights
    assert same_tensors(found.weights, again)
