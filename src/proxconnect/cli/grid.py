"""``proxconnect grid``: the runs of a grid, and the pages of their results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from proxconnect import experiments
from proxconnect.base.files import make_folder
from proxconnect.errors import TrainingError, unknown_name
from proxconnect.experiments.launching import Launcher


def grid(
    recipe: Annotated[Path, typer.Argument(help="TOML file that describes the grid.")],
    data: Annotated[
        str | None, typer.Option(help="Data set to train on: a folder, or the name 'cifar10' or 'digits'.")
    ] = None,
    runs: Annotated[
        Path | None, typer.Option(help="Folder of the runs; default: runs/<name of the grid>.")
    ] = None,
    results: Annotated[
        Path, typer.Option(help="Folder of the pages; the JSON files are in its folder data.")
    ] = Path("docs/results"),
    jobs: Annotated[
        int,
        typer.Option(
            min=1,
            help="Number of runs at a time, of which several have one thread each; or of workers to ask a "
            "named cluster for.",
        ),
    ] = 1,
    launcher: Annotated[
        str, typer.Option(help="local (processes of this machine) or dask (the workers of --cluster).")
    ] = "local",
    cluster: Annotated[
        str | None,
        typer.Option(
            help="For --launcher dask: the address of a scheduler, slurm, pbs or lsf (through "
            "dask-jobqueue), or local, the default."
        ),
    ] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="Print the cells and their states; run nothing.")
    ] = False,
    rendered: Annotated[
        bool, typer.Option("--render", help="Record the finished runs and write the pages; run nothing.")
    ] = False,
    test: Annotated[
        bool,
        typer.Option(
            "--test", help="Evaluate the finished cells on the test split, as the last step; train nothing."
        ),
    ] = False,
    limit_train_batches: Annotated[
        int | None, typer.Option(help="The largest number of batches an epoch, to try a grid out.")
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Print the cells and their states alone, no progress.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the cells and their states as JSON, and nothing else.")
    ] = False,
) -> int:
    """Run the cells of a grid that are not done, resume interrupted ones, and write the pages of the results.

    Exit status 1: a run failed; the others went on.
    """
    if listed + rendered + test > 1:
        raise TrainingError("give one of --list, --render and --test")
    if launcher not in ("local", "dask"):
        raise TrainingError(unknown_name("launcher", launcher, ("local", "dask")))
    if cluster is not None and launcher != "dask":
        raise TrainingError("--cluster goes with --launcher dask")
    changes = {} if limit_train_batches is None else {"limit_train_batches": limit_train_batches}
    plan = experiments.read_grid(recipe, changes)
    runs = runs or Path("runs") / plan.name
    console = Console(stderr=as_json, quiet=quiet, soft_wrap=True, highlight=False, markup=False)
    known = experiments.Results(plan, results / "data" / f"{plan.name}.json")
    states = {cell.name: experiments.state_of(cell, runs / cell.name) for cell in plan.cells}
    states |= dict.fromkeys(known.records, "done")
    failed: list[str] = []
    if not listed:
        source = None if rendered else _given(data, "--test" if test else "training")
        make_folder(results)
        for cell in plan.cells:
            if states[cell.name] == "done" and cell.name not in known.records:
                known.add(cell, experiments.record_of(cell, runs / cell.name))
        if test:
            experiments.evaluate_finished(known, runs, str(source), console.print)
        elif not rendered:
            place: Launcher = experiments.LocalProcesses(runs, str(source), jobs)
            if launcher == "dask":
                place = experiments.DaskTasks(runs, str(source), cluster or "local", jobs, console.print)
            try:
                failed = experiments.run_cells(
                    plan.cells,
                    runs,
                    place,
                    recorded=known.records,
                    on_done=lambda cell: known.add(cell, experiments.record_of(cell, runs / cell.name)),
                    show=console.print,
                )
            except KeyboardInterrupt:
                raise KeyboardInterrupt("interrupted; the same command continues where it stopped") from None
            states |= dict.fromkeys(known.records, "done") | dict.fromkeys(failed, "failed")
        known.write()
        for path in experiments.render(known.to_dict(), results):
            console.print(f"wrote {path}")
    if as_json:
        print(json.dumps({"grid": plan.name, "cells": states}))
    else:
        for name, state in states.items():
            print(f"{state:8} {name}")
    return 1 if failed else 0


def _given(data: str | None, purpose: str) -> str:
    if data is None:
        raise TrainingError(f"{purpose} needs --data FOLDER")
    return data
