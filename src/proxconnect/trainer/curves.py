"""The picture of a training run: its loss, accuracy, sharpness and flips by epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from proxconnect.base.figures import figure_to
from proxconnect.trainer.epoch_table import read_epochs

# The title of each panel, its lines by column, and whether its axis is logarithmic.
_PANELS: Sequence[tuple[str, dict[str, str], bool]] = (
    ("loss", {"train_loss": "training", "val_loss": "validation"}, False),
    ("accuracy", {"train_accuracy": "training", "val_accuracy": "validation"}, False),
    ("mu", {"mu": ""}, True),
    ("flips: share of binary weights whose sign changed", {"flip_rate": ""}, True),
)
# With more epochs, points would hide the lines.
_MOST_POINTS = 40


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
    epochs = [row["epoch"] for row in rows]
    panels = [panel for panel in _PANELS if any(column in row for row in rows for column in panel[1])]
    if not panels:
        return
    marker = "o" if len(rows) <= _MOST_POINTS else ""
    with figure_to(path, (10, 3.2 * math.ceil(len(panels) / 2))) as figure:
        axes_of_panels = figure.subplots(math.ceil(len(panels) / 2), 2, squeeze=False).flat
        for axes, (title, lines, logarithmic) in zip(axes_of_panels, panels, strict=True):
            values = {column: [row.get(column, math.nan) for row in rows] for column in lines}
            # A logarithmic axis needs a positive number, and has no place for 0: a line ends there.
            logarithmic = logarithmic and any(value > 0 for line in values.values() for value in line)
            for column, label in lines.items():
                shown = [value or math.nan for value in values[column]] if logarithmic else values[column]
                axes.plot(epochs, shown, label=label, marker=marker, markersize=3)
            axes.set_title(title, fontsize=10, loc="left")
            axes.set(xlabel="epoch", xlim=(min(epochs) - 0.5, max(epochs) + 0.5))
            axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
            axes.grid(alpha=0.3)
            if logarithmic:
                axes.set_yscale("log")
            if len(lines) > 1:
                axes.legend(fontsize=8)
