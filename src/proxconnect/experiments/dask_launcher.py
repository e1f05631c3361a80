"""Cells of a grid as tasks of Dask: on workers of a scheduler, of SLURM, PBS or LSF, or of this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any
from uuid import uuid4

from proxconnect.base.optional import needed_for
from proxconnect.errors import TrainingError, unknown_name
from proxconnect.experiments.grid import Cell
from proxconnect.experiments.launching import End

JOB_QUEUES = {"slurm": "SLURMCluster", "pbs": "PBSCluster", "lsf": "LSFCluster"}
"""Named clusters, with the class of dask-jobqueue that asks each for its workers."""

LOCAL = "local"
"""The name of a cluster of processes of this machine."""
_CONNECT_SECONDS = 30
_LOOK_SECONDS = 5


class DaskTasks:
    """Trains cells as tasks of a Dask cluster; leaving the context ends those that still run.

    Every worker sees the folder of runs and the data under the same paths, and has this package. A task
    trains the cell as a local run does, in a process of its own, in the working directory of this process.
    The cell of a worker that is lost is resumed by another from its last checkpoint.

    Args:
        runs: folder of the runs.
        data: the data set, as for ``proxconnect train --data``.
        cluster: address of a scheduler, as ``tcp://host:8786``; one of :data:`JOB_QUEUES`, whose jobs are as
            the configuration of dask-jobqueue says; or ``"local"``.
        workers: the number of workers to ask a named cluster for.
        show: receives the lines to print.

    Raises:
        MissingPackageError: distributed or dask-jobqueue is not installed.
        TrainingError: the cluster is unknown or does not answer.
    """

    free = 2**31  # Dask itself holds back what its workers cannot take.

    def __init__(
        self,
        runs: Path,
        data: str,
        cluster: str = LOCAL,
        workers: int = 1,
        show: Callable[[str], None] = print,
    ) -> None:
        with needed_for("--launcher dask", extra="dask"):
            import distributed

            from proxconnect.experiments._dask_worker import CellRunner

        self._distributed = distributed
        self._runner = CellRunner(runs.resolve(), data, Path.cwd())
        self._cluster, self._workers, self._show = cluster, workers, show
        self._owned: Any = None
        self._client: Any = None
        self._cells: dict[Any, Cell] = {}

    def __enter__(self) -> DaskTasks:
        if "://" not in self._cluster:
            self._owned = _named_cluster(self._cluster, self._workers)
        try:
            self._client = self._distributed.Client(
                self._owned or self._cluster, timeout=_CONNECT_SECONDS, set_as_default=False
            )
        except (OSError, ValueError) as error:
            raise TrainingError(
                f"the Dask scheduler at {self._cluster} does not answer ({error}); start one with 'dask "
                "scheduler', and workers with 'dask worker ADDRESS --nthreads 1'"
            ) from error
        self._client.register_plugin(self._runner)
        self._show(f"Dask scheduler {self._client.scheduler.address}: {len(self._client.nthreads())} workers")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            self._client.cancel(list(self._cells))
            self._client.unregister_worker_plugin(self._runner.name)  # ends the processes of cells
            self._client.close()
        if self._owned is not None:
            self._owned.close()

    @property
    def running(self) -> bool:
        """Tell whether a cell has begun or waits for a worker."""
        return bool(self._cells)

    def start(self, cell: Cell, state: str) -> None:
        """Hand a cell to the cluster. The worker looks for the state itself, after those before it ended."""
        from proxconnect.experiments._dask_worker import train_cell

        key = f"{cell.name}-{uuid4().hex[:8]}"
        future = self._client.submit(train_cell, cell, self._runner.name, key=key, pure=False)
        self._cells[future] = cell

    def ended(self) -> Iterator[End]:
        """Wait until a cell has ended, if one runs; yield each that has."""
        told = False
        while self._cells and not any(future.done() for future in self._cells):
            with self._client.as_current(), suppress(TimeoutError):
                self._distributed.wait(list(self._cells), _LOOK_SECONDS, return_when="FIRST_COMPLETED")
            if not told and not self._client.nthreads():
                told = True
                self._show("the cluster has no worker; cells wait until one comes")
        for future in [future for future in self._cells if future.done()]:
            cell = self._cells.pop(future)
            try:
                yield End(cell, future.result())
            except Exception as error:  # whatever a worker without data, package or memory raises
                yield End(cell, None, f"on its worker: {type(error).__name__}: {error}")


def _named_cluster(name: str, workers: int) -> Any:
    """Start the workers of a named cluster, with one thread each."""
    if name == LOCAL:
        from distributed import LocalCluster

        return LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0")
    if name not in JOB_QUEUES:
        raise TrainingError(
            f"{unknown_name('cluster', name, (LOCAL, *JOB_QUEUES))}, or the address of a scheduler, as "
            "tcp://host:8786"
        )
    with needed_for(f"--cluster {name}", extra="dask"):
        import dask_jobqueue
    try:
        cluster = getattr(dask_jobqueue, JOB_QUEUES[name])()
    except (OSError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise TrainingError(
            f"dask-jobqueue cannot ask {name} for workers ({reason}); say what a job has in "
            "~/.config/dask/jobqueue.yaml, or start the workers yourself and give their scheduler's address"
        ) from error
    cluster.scale(jobs=workers)
    return cluster
