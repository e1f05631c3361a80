"""The lines of a run after each epoch: alarms of runs that have something alarming, each explained once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from proxconnect.trainer import TrainConfig, train

SMALL = {
    "model": "vit-mini",
    "data": "digits",
    "batch_size": 32,
    "limit_train_batches": 1,
    "limit_val_batches": 1,
}


@pytest.mark.parametrize(
    ("values", "alarming"),
    [
        # Latents that do not move, and a mu at which they could not learn.
        (
            {"epochs": 4, "lr": 1e-12, "latent_lr": 1e-12, "mu_start": 1e5, "mu_end": 1e5},
            {"flips", "settled"},
        ),
        # A mu that does not grow.
        ({"epochs": 2, "lr": 0.01, "latent_lr": 0.1, "mu_end": 1.5}, {"binary"}),
        # One step that is much too long, after which only validation sees the model.
        ({"epochs": 1, "setting": "fp", "lr": 1e30}, {"val loss"}),
        ({"epochs": 2, "lr": 0.01, "latent_lr": 0.1}, set()),
    ],
    ids=["nothing moves", "far from the levels", "diverged", "good"],
)
def test_alarms_of_runs(values: dict[str, Any], alarming: set[str], tmp_path: Path) -> None:
    lines: list[str] = []
    train(TrainConfig(**SMALL, **values), tmp_path / "run", show=lines.append)
    epochs = [line for line in lines if line.startswith("epoch ")]
    assert len(epochs) == values["epochs"]
    said = [part for line in epochs for part in line.split("  ") if part.endswith("(alarm)")]
    assert {part.rpartition(" ")[0].rpartition(" ")[0] for part in said} == alarming
    explained = [line.split(": ")[1].rpartition(" ")[0] for line in lines if line.startswith("alarm: ")]
    assert sorted(explained) == sorted(alarming)
