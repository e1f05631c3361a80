"""Tables of a run with rows for each epoch: CSV files that are whole at every moment."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from proxconnect.base.files import written_whole
from proxconnect.errors import TrainingError

METRICS_COLUMNS = (
    "epoch",
    "step",
    "train_loss",
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    "mu",
    "flip_rate",
    "level_distance",
    "gradient_killed",
    "outside_exact",
    "overflow_rate",
    "epoch_seconds",
    "data_share",
)
"""Columns of ``metrics.csv``, which has one row an epoch; what a run does not have is empty."""

HISTOGRAM_COLUMNS = tuple(f"latents_{index:02}" for index in range(24))
"""Shares of the latents in bins of :func:`proxconnect.optim.latent_histogram`."""

LAYERS_COLUMNS = (
    "epoch",
    "weight",
    "elements",
    "flip_rate",
    "level_distance",
    "gradient_killed",
    "outside_exact",
    "overflow_rate",
    *HISTOGRAM_COLUMNS,
)
"""Columns of ``layers.csv``, which has one row for each binarized weight and epoch."""


class EpochTable:
    """A CSV file that a run writes: rows for each epoch, numbered from 1, in seven digits.

    Args:
        path: the file.
        columns: its columns; the first is ``epoch``.
    """

    def __init__(self, path: Path, columns: tuple[str, ...]) -> None:
        self.path = path
        self.columns = columns
        self._rows: list[dict[str, str]] = []

    def begin(self, epochs: int) -> None:
        """Take over the rows of the first ``epochs`` from the file, of a run that goes on after these.

        Rows beyond them are of an epoch that was interrupted before its checkpoint was written.

        Raises:
            TrainingError: the file is no table of epochs.
        """
        if epochs and self.path.is_file():
            self._rows = [row for row in _read(self.path) if int(row["epoch"]) <= epochs]

    def add(self, epoch: int, rows: Iterable[Mapping[str, float | str]]) -> None:
        """Add the rows of one epoch, and write the file; keys that are no column are passed over.

        Raises:
            WriteError: the system refuses to write.
        """
        for row in rows:
            texts = {"epoch": str(epoch)} | {key: _text(value) for key, value in row.items()}
            self._rows.append({column: texts.get(column, "") for column in self.columns})
        with (
            written_whole(self.path) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as stream,
        ):
            writer = csv.DictWriter(stream, self.columns, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(self._rows)


def read_epochs(path: Path) -> list[dict[str, float]]:
    """Read a table of epochs: the numbers of each row by column, without empty cells and texts.

    A run that trained no epoch has no file, and so no rows.

    Raises:
        TrainingError: the file is no table of epochs.
    """
    if not path.is_file():
        return []
    return [_numbers(row) for row in _read(path)]


def read_layers(path: Path) -> dict[str, list[dict[str, float]]]:
    """Read ``layers.csv``: the rows of :func:`read_epochs` by the name of the weight.

    Raises:
        TrainingError: the file is no table of epochs.
    """
    found: dict[str, list[dict[str, float]]] = {}
    for row in _read(path) if path.is_file() else []:
        found.setdefault(row["weight"], []).append(_numbers(row))
    return found


def _numbers(row: dict[str, str]) -> dict[str, float]:
    return {key: float(value) for key, value in row.items() if key != "weight" and value}


def _read(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream, strict=True))
        for row in rows:
            int(row["epoch"])
            for key, value in row.items():
                if key != "weight" and value:
                    float(value)
    except (OSError, csv.Error, KeyError, TypeError, ValueError) as error:
        raise TrainingError(
            f"{path} is not the table of a run ({error!r}): remove it, and the run goes on without its first "
            "epochs"
        ) from error
    return rows


def _text(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.7g}"
