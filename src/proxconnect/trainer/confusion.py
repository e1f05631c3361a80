"""The confusion of a classifier, as a table of numbers and as a picture."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from proxconnect.base.figures import figure_to
from proxconnect.base.files import written_whole

# Beyond this many classes, names and numbers would lie over one another.
_MOST_WITH_NUMBERS = 20
_MOST_WITH_NAMES = 60


def write_confusion(confusion: Sequence[Sequence[int]], classes: Sequence[str], path: Path) -> None:
    """Write a confusion to ``path``: as CSV if the name ends in .csv, else as a picture.

    Args:
        confusion: ``confusion[i][j]`` images of class ``i`` were taken for class ``j``.
        classes: the names of the classes.
        path: the file. The first row of a CSV file names the answers, and the first column the true classes.

    Raises:
        ProxConnectError: the ending is neither .csv nor that of a format of pictures.
        WriteError: the file cannot be written.
    """
    if path.suffix.lower() == ".csv":
        with written_whole(path) as file, file.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(["true class", *classes])
            writer.writerows([name, *row] for name, row in zip(classes, confusion, strict=True))
    else:
        _draw(confusion, classes, path)


def _draw(confusion: Sequence[Sequence[int]], classes: Sequence[str], path: Path) -> None:
    count = len(classes)
    side = max(4.0, min(0.45 * count + 2, 20.0))
    shares = [[number / max(1, sum(row)) for number in row] for row in confusion]
    with figure_to(path, size=(side, side)) as figure:
        axes = figure.subplots()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axes.set_xlabel("answer")
        axes.set_ylabel("true class")
        axes.set_title("Share of each class, and numbers of images")
        if count <= _MOST_WITH_NAMES:
            axes.set_xticks(range(count), classes, rotation=90)
            axes.set_yticks(range(count), classes)
        if count <= _MOST_WITH_NUMBERS:
            for place, row in enumerate(confusion):
                for answer, number in enumerate(row):
                    colour = "white" if shares[place][answer] > 0.5 else "black"
                    axes.text(answer, place, f"{number}", ha="center", va="center", color=colour)
