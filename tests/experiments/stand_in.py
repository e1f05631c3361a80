"""Workers of Dask, and local processes, that run the stand-in in place of training."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from proxconnect.experiments import Cell
from proxconnect.experiments._dask_worker import CellRunner

TRAINER = Path(__file__).with_name("stand_in_trainer.py")


def command(cell: Cell, state: str, runs: Path, data: str) -> list[str]:
    config = {**cell.config.to_dict(), "data": data}
    epochs = str(cell.config.epochs)
    return [sys.executable, "-S", str(TRAINER), str(runs / cell.name), json.dumps(config), epochs]


class StandInRunner(CellRunner):
    def command(self, cell: Cell, state: str) -> list[str]:
        return command(cell, state, self.runs, self.data)
