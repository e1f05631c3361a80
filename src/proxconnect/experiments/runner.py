"""Running of the cells of a grid that are not done yet, in order, by processes or by a cluster."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from proxconnect.base.files import make_folder
from proxconnect.errors import TrainingError
from proxconnect.experiments.grid import Cell
from proxconnect.experiments.launching import End, Launcher, command, log_of
from proxconnect.experiments.record import state_of

_POLL_SECONDS = 0.2


def run_cells(
    cells: Sequence[Cell],
    runs: Path,
    launcher: Launcher,
    *,
    recorded: Collection[str] = (),
    on_done: Callable[[Cell], None],
    show: Callable[[str], None] = print,
) -> list[str]:
    """Train the cells that are not done, in order, and resume the cells that were interrupted.

    Args:
        cells: the cells, each after the cells that it starts from.
        runs: folder of the runs; the cell ``name`` has the folder ``name`` and the log ``name.log`` in it.
        launcher: where they are trained, such as :class:`LocalProcesses`.
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
    with _alone(runs), _terminable(), launcher:
        states = {cell.name: state_of(cell, runs / cell.name) for cell in cells}
        waiting = _to_run(cells, states, recorded)
        done = {name for name, state in states.items() if state == "done"}
        while waiting or launcher.running:
            for cell in [cell for cell in waiting if any(name in failed for name in cell.needs)]:
                waiting.remove(cell)
                failed.append(cell.name)
                show(f"{cell.name}: not run, because the run that it starts from failed")
            ready = [cell for cell in waiting if all(name in done for name in cell.needs)]
            for cell in ready[: launcher.free]:
                waiting.remove(cell)
                launcher.start(cell, states[cell.name])
                show(f"{cell.name}: {'resumed' if states[cell.name] == 'started' else 'started'}")
            for cell, status, reason in launcher.ended():
                if status == 0:
                    done.add(cell.name)
                    if cell.name not in recorded:
                        on_done(cell)
                    show(f"{cell.name}: done")
                else:
                    failed.append(cell.name)
                    how = f"with status {status}; {_last_line(log_of(runs, cell))}" if status else reason
                    show(f"{cell.name}: failed {how}")
    return failed


class LocalProcesses:
    """Processes of this machine, at most ``jobs`` at a time; leaving the context ends those that still run.

    Args:
        runs: folder of the runs.
        data: the data set, as for ``proxconnect train --data``.
        jobs: number of processes at a time; several processes have one thread each.
    """

    def __init__(self, runs: Path, data: str, jobs: int = 1) -> None:
        self.runs, self.data, self.jobs = runs, data, jobs
        self._processes: list[tuple[Cell, subprocess.Popen[bytes]]] = []

    @property
    def free(self) -> int:
        """The number of processes that can be started now."""
        return self.jobs - len(self._processes)

    @property
    def running(self) -> bool:
        """Tell whether a process runs."""
        return bool(self._processes)

    def start(self, cell: Cell, state: str) -> None:
        """Start the process of a cell."""
        environment = {**os.environ, "OMP_NUM_THREADS": "1"} if self.jobs > 1 else None
        arguments = command(cell, state, self.runs, self.data)
        with log_of(self.runs, cell).open("ab") as log:
            process = subprocess.Popen(arguments, stdout=log, stderr=subprocess.STDOUT, env=environment)
        self._processes.append((cell, process))

    def ended(self) -> Iterator[End]:
        """Wait until a process has ended, if one runs; yield the end of each that has."""
        while self._processes:
            over = [run for run in self._processes if run[1].poll() is not None]
            if over:
                self._processes = [run for run in self._processes if run not in over]
                yield from (End(cell, process.returncode) for cell, process in over)
                return
            time.sleep(_POLL_SECONDS)

    def __enter__(self) -> LocalProcesses:
        return self

    def __exit__(self, *error: object) -> None:
        for _, process in self._processes:
            process.terminate()
        for _, process in self._processes:
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


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    last = next((line for line in reversed(lines) if line.strip()), "its log is empty")
    return f"{last.strip()} (log: {log})"
