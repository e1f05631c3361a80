"""The reports of a run in its folder: tables, curves and the file of TensorBoard."""

from __future__ import annotations

import csv
import os
import sys
from pathlib import Path

import pytest
from looking import every
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from proxconnect.layers import binarized_weights
from proxconnect.trainer import TrainConfig, read_checkpoint, train
from proxconnect.trainer.epoch_table import LAYERS_COLUMNS, METRICS_COLUMNS

OF_BINARY_LAYERS = {"mu", "flip_rate", "level_distance", "gradient_killed", "outside_exact"}


def rows(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        return list(reader.fieldnames or ()), list(reader)


def test_a_folder_has_one_table_with_a_row_for_each_epoch(finished_runs: Path) -> None:
    for setting, absent in (("bw", {"overflow_rate"}), ("fp", {"overflow_rate", *OF_BINARY_LAYERS})):
        columns, [row] = rows(finished_runs / setting / "metrics.csv")
        assert columns == list(METRICS_COLUMNS)
        assert {column for column in columns if not row[column]} == absent
        assert (row["epoch"], row["step"]) == ("1", "3")
        assert (finished_runs / setting / "curves.png").read_bytes().startswith(b"\x89PNG")
    columns, layers = rows(finished_runs / "bw" / "layers.csv")
    assert columns == list(LAYERS_COLUMNS)
    model = read_checkpoint(finished_runs / "bw").build_model()
    assert [row["weight"] for row in layers] == [found.name for found in binarized_weights(model)]
    assert every(row["epoch"] == "1" for row in layers)
    assert not (finished_runs / "fp" / "layers.csv").exists()


def test_tensorboard_has_few_scalars_and_a_histogram_of_each_layer(finished_runs: Path) -> None:
    for setting in ("bw", "fp"):
        _, [row] = rows(finished_runs / setting / "metrics.csv")
        events = EventAccumulator(str(finished_runs / setting / "tensorboard")).Reload()
        given = {column for column in METRICS_COLUMNS if row[column]} - {"epoch", "step"}
        assert set(events.Tags()["scalars"]) == given
        for column in given:
            [event] = events.Scalars(column)
            assert event.step == 1
            assert event.value == pytest.approx(float(row[column]), rel=1e-5)
    events = EventAccumulator(str(finished_runs / "bw" / "tensorboard")).Reload()
    for found in binarized_weights(read_checkpoint(finished_runs / "bw").build_model()):
        [event] = events.Histograms(f"latents/{found.name}")
        latents = found.quantizer.normalized(found.latent)
        assert event.histogram_value.num == latents.numel()
        assert event.histogram_value.max == pytest.approx(latents.max().item(), rel=1e-5)


def test_a_run_needs_neither_tensorboard_nor_matplotlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    options = {"epochs": 1, "batch_size": 8, "limit_train_batches": 1, "limit_val_batches": 1}
    train(TrainConfig(model="vit-mini", data="digits", **options), tmp_path / "run", show=lambda line: None)
    assert sorted(os.listdir(tmp_path / "run")) == ["checkpoint", "config.json", "layers.csv", "metrics.csv"]
