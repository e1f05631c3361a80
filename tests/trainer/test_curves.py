"""The curves of a run: which panels there are, and the numbers in them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from drawing import figures_of
from matplotlib.figure import Figure

from proxconnect.errors import TrainingError
from proxconnect.trainer import curves
from proxconnect.trainer.curves import draw_curves
from proxconnect.trainer.epoch_table import METRICS_COLUMNS, EpochTable

BOTH = {"train_loss": 2.0, "train_accuracy": 0.5, "val_loss": 2.5, "val_accuracy": 0.4}
BINARY = {**BOTH, "mu": 1.0, "flip_rate": 0.01}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    return figures_of(curves, monkeypatch)


def metrics(path: Path, *rows: dict[str, float]) -> Path:
    table = EpochTable(path, METRICS_COLUMNS)
    for epoch, row in enumerate(rows, 1):
        table.add(epoch, [row])
    return path


@pytest.mark.parametrize(
    ("rows", "titles"),
    [
        ([BINARY, {**BINARY, "mu": 300.0, "flip_rate": 0.0}], ["loss", "accuracy", "mu", "flips"]),
        ([{**BINARY, "flip_rate": 0.0}], ["loss", "accuracy", "mu", "flips"]),
        ([BOTH, BOTH], ["loss", "accuracy"]),
        ([{**BOTH, "val_loss": math.nan}, {**BOTH, "train_loss": math.inf}], ["loss", "accuracy"]),
        ([BINARY] * 100, ["loss", "accuracy", "mu", "flips"]),
    ],
    ids=["two epochs", "one epoch", "full precision", "diverged", "long"],
)
def test_a_panel_for_each_number_that_the_run_has(
    rows: list[dict[str, float]], titles: list[str], drawn: list[Figure], tmp_path: Path
) -> None:
    draw_curves(metrics(tmp_path / "metrics.csv", *rows), tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    panels = drawn[0].axes
    assert [axes.get_title("left").partition(":")[0] for axes in panels] == titles
    training, validation = panels[1].lines
    assert list(training.get_xdata()) == [*range(1, len(rows) + 1)]
    assert list(validation.get_ydata()) == [0.4] * len(rows)
    if len(rows) == 1:  # a line of one point is invisible
        assert training.get_marker() == "o"
        assert [tick for tick in panels[0].get_xticks() if 0.5 <= tick <= 1.5] == [1]


def test_a_run_without_an_epoch_has_no_picture(drawn: list[Figure], tmp_path: Path) -> None:
    draw_curves(tmp_path / "metrics.csv", tmp_path / "curves.png")
    assert not drawn
    assert not list(tmp_path.iterdir())


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("thesis\n1\n")
    with pytest.raises(TrainingError, match="is not the table of a run"):
        draw_curves(tmp_path / "metrics.csv", tmp_path / "curves.png")
