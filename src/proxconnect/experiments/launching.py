"""Parts that the launchers of a grid share: their form, the command that trains a cell, and its log."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Protocol

from proxconnect.experiments.grid import Cell
from proxconnect.trainer import TrainConfig


class End(NamedTuple):
    """The end of a cell.

    Args:
        cell: the cell.
        status: the exit status of its process, 0 where it is done; None where there was no such process.
        reason: why there was none.
    """

    cell: Cell
    status: int | None
    reason: str = ""


class Launcher(Protocol):
    """The place where cells are trained; leaving the context ends those that still run."""

    @property
    def free(self) -> int:
        """The number of cells that can be started now."""

    @property
    def running(self) -> bool:
        """Tell whether a cell that was started has not ended."""

    def start(self, cell: Cell, state: str) -> None:
        """Start a cell whose state is ``"pending"`` or ``"started"``."""

    def ended(self) -> Iterator[End]:
        """Wait until a cell has ended, if one runs; yield each that has."""

    def __enter__(self) -> Launcher: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def command(cell: Cell, state: str, runs: Path, data: str) -> list[str]:
    """Return the command that trains ``cell``, or the rest of it.

    >>> cell = Cell("a", "fp", None, {"model": "resnet20", "setting": "fp", "epochs": 2})
    >>> " ".join(command(cell, "pending", Path("runs"), "digits")[1:])
    '-m proxconnect train --data digits --model resnet20 --setting fp --epochs 2 --overwrite --out runs/a'
    >>> " ".join(command(cell, "started", Path("runs"), "digits")[1:])
    '-m proxconnect train --resume runs/a'
    >>> cell = Cell("a", "fp", None, {"setting": "fp", "channels_last": False, "compile": False})
    >>> " ".join(command(cell, "pending", Path("runs"), "digits")[1:])
    '-m proxconnect train --data digits --setting fp --no-channels-last --overwrite --out runs/a'
    """
    train = [sys.executable, "-m", "proxconnect", "train"]
    folder = runs / cell.name
    if state == "started":
        pair = cell.options.get("pair")  # a pair is imported only if the command names it
        return [*train, "--resume", str(folder), *([] if pair is None else ["--pair", str(pair)])]
    options = [word for key, value in cell.options.items() for word in _words(key, value, runs)]
    # A folder without a checkpoint belongs to a run that was interrupted in its first epoch.
    return [*train, "--data", data, *options, "--overwrite", "--out", str(folder)]


def _words(key: str, value: Any, runs: Path) -> list[str]:
    flag = "--" + key.replace("_", "-")
    if isinstance(value, bool):
        off = [flag.replace("--", "--no-", 1)] if getattr(TrainConfig(), key) else []
        return [flag] if value else off
    if key in ("init", "teacher"):
        value = runs / value
    return [f"{flag}={value}"] if str(value).startswith("-") else [flag, str(value)]


def log_of(runs: Path, cell: Cell) -> Path:
    """Return the file that has what the process of a cell printed."""
    return runs / f"{cell.name}.log"
