"""Grids of training runs, which are planned in TOML, recorded in JSON and rendered in Markdown."""

from __future__ import annotations

from proxconnect.experiments.dask_launcher import DaskTasks
from proxconnect.experiments.grid import REGIMES, Cell, Grid, Table
from proxconnect.experiments.grid_file import read_grid
from proxconnect.experiments.held_out import evaluate_finished
from proxconnect.experiments.record import record_of, state_of
from proxconnect.experiments.render import render
from proxconnect.experiments.results import Results
from proxconnect.experiments.runner import LocalProcesses, run_cells

__all__ = [
    "REGIMES",
    "Cell",
    "DaskTasks",
    "Grid",
    "LocalProcesses",
    "Results",
    "Table",
    "evaluate_finished",
    "read_grid",
    "record_of",
    "render",
    "run_cells",
    "state_of",
]
