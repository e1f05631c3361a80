"""Running of the cells of a grid that are not done yet, each in a process of its own."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from proxconnect.base.files import make_folder
from proxconnect.errors import TrainingError
from proxconnect.experiments.grid import Cell
from proxconnect.experiments.record import state_of
from proxconnect.trainer import TrainConfig

_POLL_SECONDS = 0.2


def run_cells(
    cells: Sequence[Cell],
    runs: Path,
    data: str,
    *,
    jobs: int = 1,
    recorded: Collection[str] = (),
    on_done: Callable[[Cell], None],
    show: Callable[[str], None] = print,
) -> list[str]:
    """Train the cells that are not done, in order, and resume the cells that were interrupted.

    Args:
        cells: the cells, each after the cells that it starts from.
        runs: folder of the runs; the cell ``name`` has the folder ``name`` and the log ``name.log`` in it.
        data: the data set, as for ``proxconnect train --data``.
        jobs: number of processes at a time; several processes have one thread each.
        recorded: names of cells whose results are known already, from any machine. If another cell starts
            from such a cell and its run is missing, it is trained again; its record stays as it is.
        on_done: called after each cell that this call finished and that was not recorded before.
        show: receives the lines to print.

    Returns:
        The names of the cells that failed, or that start from a failed cell.

    Raises:
        TrainingError: a folder holds a run of another configuration, or another process runs cells in
            ``runs``. Nothing is run then.
    """
    failed: list[str] = []
    with _alone(runs), _terminable(), _Processes(runs, data, jobs) as processes:
        states = {cell.name: state_of(cell, runs / cell.name) for cell in cells}
        waiting = _to_run(cells, states, recorded)
        done = {name for name, state in states.items() if state == "done"}
        while waiting or processes.running:
            for cell in [cell for cell in waiting if any(name in failed for name in cell.needs)]:
                waiting.remove(cell)
                failed.append(cell.name)
                show(f"{cell.name}: not run, because the run that it starts from failed")
            ready = [cell for cell in waiting if all(name in done for name in cell.needs)]
            for cell in ready[: processes.free]:
                waiting.remove(cell)
                processes.start(cell, states[cell.name])
                show(f"{cell.name}: {'resumed' if states[cell.name] == 'started' else 'started'}")
            for cell, status in processes.ended():
                if status == 0:
                    done.add(cell.name)
                    if cell.name not in recorded:
                        on_done(cell)
                    show(f"{cell.name}: done")
                else:
                    failed.append(cell.name)
                    show(f"{cell.name}: failed with status {status}; {_last_line(_log(runs, cell))}")
    return failed


class _Processes:
    """Training processes, at most ``jobs`` at a time; leaving the context ends those that still run."""

    def __init__(self, runs: Path, data: str, jobs: int) -> None:
        self.runs, self.data, self.jobs = runs, data, jobs
        self.running: list[tuple[Cell, subprocess.Popen[bytes]]] = []

    @property
    def free(self) -> int:
        return self.jobs - len(self.running)

    def start(self, cell: Cell, state: str) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"} if self.jobs > 1 else None
        arguments = command(cell, state, self.runs, self.data)
        with _log(self.runs, cell).open("ab") as log:
            process = subprocess.Popen(arguments, stdout=log, stderr=subprocess.STDOUT, env=environment)
        self.running.append((cell, process))

    def ended(self) -> Iterator[tuple[Cell, int]]:
        """Wait until a process has ended, if one runs; yield its cell and its exit status."""
        while self.running:
            over = [run for run in self.running if run[1].poll() is not None]
            if over:
                self.running = [run for run in self.running if run not in over]
                yield from ((cell, process.returncode) for cell, process in over)
                return
            time.sleep(_POLL_SECONDS)

    def __enter__(self) -> _Processes:
        return self

    def __exit__(self, *error: object) -> None:
        for _, process in self.running:
            process.terminate()
        for _, process in self.running:
            process.wait()


@contextmanager
def _alone(runs: Path) -> Iterator[None]:
    """Lock the folder ``runs``: two processes that resume one run would write over each other."""
    make_folder(runs)
    with (runs / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TrainingError(
                f"another 'proxconnect grid' runs the cells in {runs}; wait for it, or name another folder "
                "with --runs"
            ) from None
        yield


@contextmanager
def _terminable() -> Iterator[None]:
    """Leave the context on ``SIGTERM`` as on Ctrl-C, so that no process of a cell goes on alone."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread receives signals
        yield
        return

    def leave(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _to_run(cells: Sequence[Cell], states: Mapping[str, str], recorded: Collection[str]) -> list[Cell]:
    """List the cells to train, in order.

    A cell that is recorded, but whose run is missing, is listed if another cell starts from it. It stands
    right before that cell.
    """
    by_name = {cell.name: cell for cell in cells}
    order: list[Cell] = []

    def add(cell: Cell) -> None:
        if states[cell.name] != "done" and cell not in order:
            for name in cell.needs:
                add(by_name[name])
            order.append(cell)

    for cell in cells:
        if cell.name not in recorded:
            add(cell)
    return order


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


def _log(runs: Path, cell: Cell) -> Path:
    return runs / f"{cell.name}.log"


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    last = next((line for line in reversed(lines) if line.strip()), "its log is empty")
    return f"{last.strip()} (log: {log})"
