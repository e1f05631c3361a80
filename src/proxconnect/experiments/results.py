"""The results of a grid: one JSON file, in which each planned cell is done or pending."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from proxconnect.base.files import make_folder, written_whole
from proxconnect.errors import TrainingError, unknown_name
from proxconnect.experiments.grid import REGIMES, Cell, Grid, Table
from proxconnect.experiments.record import decisive, refuse_difference

_SHOWN_APART = ("model", "method", "rule", "setting", "seed", "init")


class Results:
    """The results of the cells of ``grid``, kept in the file ``path``.

    The file holds everything that a page shows: titles, the plan of each cell, and the records of finished
    cells. Records that another machine wrote into the file stay.

    Args:
        grid: the plan.
        path: a JSON file; it need not exist.

    Raises:
        TrainingError: the file is not a file of results, or it holds the record of a cell that the grid does
            not plan or plans with another configuration.
    """

    def __init__(self, grid: Grid, path: Path) -> None:
        self.grid, self.path = grid, path
        self.records: dict[str, dict[str, Any]] = {}
        planned = {cell.name: cell for cell in grid.cells}
        for name, entry in _cells_in(path).items():
            if entry.get("status") != "done":
                continue
            if name not in planned:
                raise TrainingError(
                    f"{path} holds a result that the grid does not plan: "
                    f"{unknown_name('cell', name, planned)}. Plan it, or remove it from the file"
                )
            refuse_difference(
                f"the result in {path}", entry["record"]["config"] | {"data": "-"}, planned[name]
            )
            self.records[name] = entry["record"]

    def add(self, cell: Cell, record: Mapping[str, Any]) -> None:
        """Keep the record of a finished cell; an earlier evaluation on the test split stays."""
        before = self.records.get(cell.name, {})
        self.records[cell.name] = {**record, "test": record["test"] or before.get("test")}
        self.write()

    def write(self) -> None:
        """Write the file, whole or not at all."""
        make_folder(self.path.parent)
        with written_whole(self.path) as file:
            file.write_text(json.dumps(self.to_dict(), indent=1) + "\n")

    def to_dict(self) -> dict[str, Any]:
        """Return the results as plain values, as the file holds them."""
        grid = self.grid
        return {
            "grid": grid.name,
            "title": grid.title,
            "data": grid.data,
            "protocol": grid.protocol,
            "pairs": [list(pair) for pair in grid.pairs],
            "tables": [self._table(table) for table in grid.tables],
            "cells": {cell.name: self._cell(cell) for cell in grid.cells},
        }

    def _table(self, table: Table) -> dict[str, Any]:
        return {
            "title": table.title,
            "regime": REGIMES[table.regime],
            "cells": [cell.name for cell in table.cells],
        }

    def _cell(self, cell: Cell) -> dict[str, Any]:
        config = decisive(cell.config)
        plan = {
            "model": config["model"],
            "method": cell.label,
            "setting": config["setting"],
            "seed": config["seed"],
            "regime": cell.regime,
            "full_precision": cell.full_precision,
            "varied": dict(cell.varied),
            "options": {key: value for key, value in cell.options.items() if key not in _SHOWN_APART},
        }
        if cell.name not in self.records:
            return {"status": "pending", **plan}
        return {"status": "done", **plan, "record": self.records[cell.name]}


def _cells_in(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        if all(entry["status"] == "pending" or entry["record"]["config"] for entry in cells.values()):
            return dict(cells)
    except OSError as error:
        raise TrainingError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise TrainingError(f"{path} is not a file of results; remove it, or name another folder with --results")
