"""The training of a cell on a worker of Dask."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

from distributed import WorkerPlugin, get_worker

from proxconnect.experiments.grid import Cell
from proxconnect.experiments.launching import command, log_of
from proxconnect.experiments.record import state_of

_POLL_SECONDS = 0.2
# The process asks the system to end it when the worker that started it ends, then becomes the training.
_END_WITH_THE_WORKER = (
    "import ctypes, os, sys\n"
    "worker = int(sys.argv[1])\n"
    "if sys.platform == 'linux': ctypes.CDLL(None).prctl(1, 15)\n"
    "if os.getppid() != worker: sys.exit(1)\n"
    "os.execv(sys.argv[2], sys.argv[2:])\n"
)


def train_cell(cell: Cell, plugin: str) -> int:
    """Train ``cell`` on this worker; return the exit status of its process."""
    runner: CellRunner = get_worker().plugins[plugin]
    return runner.train(cell)


class CellRunner(WorkerPlugin):  # type: ignore[misc]
    """The processes of cells on one worker, which end with the worker.

    Args:
        runs: folder of the runs.
        data: the data set.
        folder: the working directory, in which pairs of one's own are found.
    """

    def __init__(self, runs: Path, data: str, folder: Path) -> None:
        self.name = f"proxconnect-{uuid4().hex[:8]}"
        self.runs, self.data, self.folder = runs, data, folder
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._ending = False

    def command(self, cell: Cell, state: str) -> list[str]:
        """Return the command that trains ``cell`` on this worker, or the rest of it."""
        return command(cell, state, self.runs, self.data)

    def train(self, cell: Cell) -> int:
        """Train ``cell``, or the rest of it, unless it is done; return the exit status.

        A cell is locked by the worker that trains it and by its process. Where a worker is lost and its
        process goes on, the next worker waits for it.
        """
        with _locked(self.runs / f"{cell.name}.lock") as lock:
            state = state_of(cell, self.runs / cell.name)
            if state == "done":
                return 0
            return self._run(self.command(cell, state), log_of(self.runs, cell), lock)

    def _run(self, arguments: list[str], log: Path, lock: IO[bytes]) -> int:
        starter = [sys.executable, "-c", _END_WITH_THE_WORKER, str(os.getpid()), *arguments]
        with log.open("ab") as stream:
            process = subprocess.Popen(
                starter, stdout=stream, stderr=subprocess.STDOUT, cwd=self.folder, pass_fds=[lock.fileno()]
            )
        self._processes.add(process)
        try:
            if self._ending:
                process.terminate()
            return process.wait()
        finally:
            self._processes.discard(process)

    def teardown(self, worker: Any) -> None:
        """End the processes of this worker."""
        self._ending = True
        for process in list(self._processes):
            process.terminate()


@contextmanager
def _locked(path: Path) -> Iterator[IO[bytes]]:
    """Wait for the lock ``path``, and keep it; processes that are given the file keep it too."""
    with path.open("ab") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(_POLL_SECONDS)
        yield lock
