"""``proxconnect report``: training runs as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from proxconnect.cli._console import plain_console
from proxconnect.report import write_report


def report(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs, or folders that have runs in them.")],
    out: Annotated[Path, typer.Option(help="HTML file to write.")] = Path("report.html"),
    data: Annotated[
        str | None,
        typer.Option(
            help="Data set to evaluate on: a folder, or the name 'cifar10' or 'digits'; default: that of "
            "each run."
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="val or test.")] = "val",
    samples: Annotated[int, typer.Option(help="Largest number of sample predictions of a run.")] = 12,
    rounds: Annotated[int, typer.Option(help="Rounds of timing; 0 leaves latencies out.")] = 25,
) -> None:
    """Write a report: runs, curves, layers, confusion matrix, sample predictions, sizes and latencies.

    The file has everything in itself, and no scripts.
    """
    console = plain_console()
    path = write_report(runs, out, data=data, split=split, samples=samples, rounds=rounds, show=console.print)
    console.print(f"wrote {path}")
