"""A small grid, and folders as finished runs leave them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from proxconnect.experiments import Cell

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


@pytest.fixture
def finish() -> Finish:
    """Return a function that writes the files of a finished run of ``cell`` to its folder in ``runs``."""

    def write(cell: Cell, runs: Path, accuracy: float = 0.75, size: int = 1000, **result: object) -> None:
        folder = runs / cell.name
        (folder / "csv" / "version_0").mkdir(parents=True)
        config = {**cell.config.to_dict(), "data": "digits"}
        if config["init"]:
            config["init"] = str(runs / config["init"])
        rows = [f"{epoch},10.0,{0.1 / (epoch + 1)},0.5,0.5" for epoch in range(config["epochs"])]
        (folder / "csv" / "version_0" / "metrics.csv").write_text(
            "\n".join(["epoch,epoch_seconds,flip_rate,latents/00,latents/01", *rows]) + "\n"
        )
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
