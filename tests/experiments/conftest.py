"""A small grid, and folders as finished runs leave them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from proxconnect.experiments import Cell, Results, read_grid, record_of
from proxconnect.trainer.epoch_table import HISTOGRAM_COLUMNS, LAYERS_COLUMNS, METRICS_COLUMNS, EpochTable

GRID = """
title = "A small grid"
data = "Handwritten digits."
protocol = "One epoch."
pairs = [["bnn+", "bnn++"]]

[options]
epochs = 1

[[table]]
title = "Full precision"
regime = "fp"
model = "resnet20"
seed = [0, 1]

[[table]]
title = "1-bit weights"
regime = "ft"
full_precision = "{model}-fp-s{seed}"
model = "resnet20"
setting = "bw"
method = ["bc", "bnn+", "bnn++"]
seed = [0, 1]
options = { epochs = 2 }
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    file = tmp_path / "small.toml"
    file.write_text(GRID)
    return file


Finish = Callable[..., None]


def _layer(name: str, latents: int, place: int) -> dict[str, float | str]:
    """Return the row of a layer whose latents all lie in one bin."""
    return {
        "weight": name,
        "elements": latents,
        **dict.fromkeys(HISTOGRAM_COLUMNS, 0.0),
        f"latents_{place:02}": 1.0,
    }


@pytest.fixture
def finish() -> Finish:
    """Return a function that writes the files of a finished run of ``cell`` to its folder in ``runs``."""

    def write(cell: Cell, runs: Path, accuracy: float = 0.75, size: int = 1000, **result: object) -> None:
        folder = runs / cell.name
        folder.mkdir(parents=True)
        config = {**cell.config.to_dict(), "data": "digits"}
        if config["init"]:
            config["init"] = str(runs / config["init"])
        metrics = EpochTable(folder / "metrics.csv", METRICS_COLUMNS)
        layers = EpochTable(folder / "layers.csv", LAYERS_COLUMNS)
        for epoch in range(1, config["epochs"] + 1):
            metrics.add(epoch, [{"epoch_seconds": 10.0, "flip_rate": 0.1 / epoch}])
            layers.add(epoch, [_layer("first", 3, 0), _layer("last", 1, 23)])
        (folder / "config.json").write_text(json.dumps(config))
        evaluation = {"accuracy": accuracy, "loss": 1.0, "images": 400}
        values = {
            "trained": evaluation,
            "packed": evaluation,
            "metrics": {"mu": 300.0} if config["setting"] != "fp" else {},
            "bytes": size,
            "ratio": 15.0,
            "data_fingerprint": "abc",
            "origin": None,
            "config": config,
            **result,
        }
        (folder / "result.json").write_text(json.dumps(values))

    return write


@pytest.fixture
def results(recipe: Path, tmp_path: Path, finish: Finish) -> Results:
    """Seeds 0 and 1 of full precision, bnn+ and bnn++; of bc one seed."""
    grid = read_grid(recipe)
    accuracies = {
        "resnet20-fp-s0": 0.90, "resnet20-fp-s1": 0.92,
        "resnet20-bw-ft-bc-s0": 0.85,
        "resnet20-bw-ft-bnn+-s0": 0.80, "resnet20-bw-ft-bnn+-s1": 0.82,
        "resnet20-bw-ft-bnn++-s0": 0.86, "resnet20-bw-ft-bnn++-s1": 0.884,
    }  # fmt: skip
    results = Results(grid, tmp_path / "data" / "small.json")
    for cell in grid.cells:
        if cell.name in accuracies:
            finish(cell, tmp_path, accuracies[cell.name])
            results.add(cell, record_of(cell, tmp_path / cell.name))
    return results
