"""The forest plot: differences with their intervals, one below the other, and a line at 0."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from proxconnect.base.figures import figure_to

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Line(NamedTuple):
    """One line of a forest plot; ``half`` is NaN where there is no interval."""

    label: str
    mean: float
    half: float


def draw_forest(lines: Sequence[Line], path: Path, difference: str) -> None:
    """Draw differences with their intervals to an image file.

    Args:
        lines: from top to bottom.
        path: the file to write; its ending chooses the format.
        difference: describes the numbers, below the axis.

    Raises:
        ProxConnectError: the format is unknown.
    """
    with figure_to(path, (7, 1 + 0.3 * len(lines))) as figure:
        draw_lines(figure.subplots(), lines)
        figure.supxlabel(difference, fontsize=9)


def draw_lines(axes: Axes, lines: Sequence[Line]) -> None:
    """Draw the lines of a forest plot to a panel of a figure, from top to bottom."""
    axes.axvline(0, color="0.6", linewidth=1)
    for place, line in enumerate(lines):
        color = "0.5" if math.isnan(line.half) or abs(line.mean) <= line.half else "C0"
        if not math.isnan(line.half):
            ends = [line.mean - line.half, line.mean + line.half]
            axes.plot(ends, [place, place], color=color, linewidth=1.5)
        axes.plot([line.mean], [place], color=color, marker="s", markersize=5)
    axes.set_yticks(range(len(lines)), [line.label for line in lines], fontsize=8)
    axes.set_ylim(len(lines) - 0.4, -0.6)  # the first line is on top
    axes.grid(axis="x", alpha=0.3)
