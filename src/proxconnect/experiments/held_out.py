"""The evaluation of the packed files of finished cells on the test split, once for each cell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from proxconnect.experiments.results import Results
from proxconnect.packing import load
from proxconnect.trainer import evaluate_split, origin

PACKED_FILE = "model.safetensors"


def evaluate_finished(results: Results, runs: Path, data: str, show: Callable[[str], None] = print) -> int:
    """Evaluate the packed file of each recorded cell on the test split of ``data``, and record it.

    A cell that has been evaluated is not evaluated again. Choices are made on validation images, and this is
    the last step.

    Returns:
        The number of evaluated cells.
    """
    waiting = [
        cell
        for cell in results.grid.cells
        if cell.name in results.records and results.records[cell.name]["test"] is None
    ]
    for cell in waiting:
        found = evaluate_split(load(runs / cell.name / PACKED_FILE), data)
        record = {**results.records[cell.name], "test": {**found.to_dict(), "origin": origin()}}
        results.add(cell, record)
        show(f"{cell.name}: test accuracy {found.accuracy:.4f}")
    return len(waiting)
