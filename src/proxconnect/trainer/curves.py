"""The picture of a training run: its loss, accuracy, sharpness and flips by epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from proxconnect.base.figures import figure_to
from proxconnect.trainer.epoch_table import read_epochs


class Panel(NamedTuple):
    """One panel: its title, the label of each line by column, and whether its axis is logarithmic."""

    title: str
    lines: Mapping[str, str]
    logarithmic: bool = False


_PANELS = (
    Panel("loss", {"train_loss": "training", "val_loss": "validation"}),
    Panel("accuracy", {"train_accuracy": "training", "val_accuracy": "validation"}),
    Panel("mu", {"mu": ""}, logarithmic=True),
    Panel("flips: share of binary weights whose sign changed", {"flip_rate": ""}, logarithmic=True),
)
MOST_POINTS = 40
"""The largest number of epochs of which lines have points; more would hide the lines."""


def draw_curves(metrics: Path, path: Path) -> None:
    """Draw the curves of a run from its ``metrics.csv``; a panel without a number is left out.

    Args:
        metrics: the file ``metrics.csv``.
        path: the picture; its ending chooses the format.

    Raises:
        TrainingError: ``metrics`` is not the table of a run.
        MissingPackageError: matplotlib is not installed.
        WriteError: the system refuses to write.
    """
    rows = read_epochs(metrics)
    panels = panels_of(rows)
    if not panels:
        return
    rows_of_panels = math.ceil(len(panels) / 2)
    # Short runs would take longer to fit the room for labels than to train.
    height = 3.2 * rows_of_panels
    with figure_to(path, (10, height), fitted=False) as figure:
        figure.subplots_adjust(
            left=0.07, right=0.985, wspace=0.17, bottom=0.5 / height, top=1 - 0.3 / height, hspace=0.36
        )
        axes_of_panels = figure.subplots(rows_of_panels, 2, squeeze=False).flat
        for axes, panel in zip(axes_of_panels, panels, strict=True):
            draw_panel(axes, panel, rows)


def panels_of(rows: Sequence[Mapping[str, float]]) -> list[Panel]:
    """List the panels of which the rows of ``metrics.csv`` have a number."""
    return [panel for panel in _PANELS if any(column in row for row in rows for column in panel.lines)]


def draw_panel(axes: Any, panel: Panel, rows: Sequence[Mapping[str, float]]) -> None:
    """Draw one panel of the rows of ``metrics.csv`` on axes of matplotlib."""
    epochs = [row["epoch"] for row in rows]
    values = {column: [row.get(column, math.nan) for row in rows] for column in panel.lines}
    # A logarithmic axis needs a positive number, and has no place for 0: a line ends there.
    logarithmic = panel.logarithmic and any(value > 0 for line in values.values() for value in line)
    for column, label in panel.lines.items():
        shown = [value or math.nan for value in values[column]] if logarithmic else values[column]
        marker = "o" if len(rows) <= MOST_POINTS else ""
        axes.plot(epochs, shown, label=label, marker=marker, markersize=3)
    axes.set_title(panel.title, fontsize=10, loc="left")
    axes.set(xlabel="epoch", xlim=(min(epochs) - 0.5, max(epochs) + 0.5))
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axes.grid(alpha=0.3)
    if logarithmic:
        axes.set_yscale("log")
    if len(panel.lines) > 1:
        axes.legend(fontsize=8)
