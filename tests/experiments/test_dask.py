"""Cells as tasks of Dask: a worker is lost, another goes on, and the results are those of a local run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dask
import psutil
import pytest
import stand_in
from distributed import LocalCluster
from looking import every

from proxconnect.cli.app import run
from proxconnect.errors import ProxConnectError, TrainingError
from proxconnect.experiments import (
    Cell,
    DaskTasks,
    LocalProcesses,
    _dask_worker,
    dask_launcher,
    read_grid,
    run_cells,
    runner,
)
from proxconnect.experiments._dask_worker import _locked

HERE = str(Path(__file__).parent)
LONG = "resnet20-bw-ft-bc-s0"


@contextmanager
def two_workers(folder: Path) -> Iterator[str]:
    """Start a scheduler with two workers, each a process without a nanny that would start it again."""
    with LocalCluster(n_workers=0, dashboard_address=":0") as cluster:
        address = cluster.scheduler_address
        worker = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1"]
        options = ["--no-nanny", "--no-dashboard", "--local-directory", str(folder)]
        environment = {**os.environ, "PYTHONPATH": HERE, "OMP_NUM_THREADS": "1"}
        started = [
            subprocess.Popen([*worker, *options], env=environment, stderr=subprocess.DEVNULL)
            for _ in range(2)
        ]
        yield address
        for process in started:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start two workers, of which one test kills one; the other tests need one."""
    with two_workers(tmp_path_factory.mktemp("workers")) as address:
        yield address


@pytest.fixture
def cells(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Cell, ...]:
    """Plan cells that the stand-in trains, one of them for longer, here and on workers."""
    monkeypatch.setattr(runner, "command", stand_in.command)
    monkeypatch.setattr(_dask_worker, "CellRunner", stand_in.StandInRunner)
    recipe.write_text(recipe.read_text() + "method_options.bc = { epochs = 30 }\n")
    return read_grid(recipe).cells


def epochs_of(log: Path) -> list[tuple[int, int]]:
    """Read the epochs that a cell was trained, each with the process that trained it."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [(int(line.split()[0]), int(line.split()[1])) for line in lines]


def kill_the_worker_of(log: Path) -> None:
    while len(epochs_of(log)) < 5:
        time.sleep(0.05)
    os.kill(epochs_of(log)[0][1], signal.SIGKILL)


def test_the_cell_of_a_lost_worker_is_resumed_by_another(
    cells: tuple[Cell, ...], scheduler: str, tmp_path: Path
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    assert run_cells(cells, here, LocalProcesses(here, "digits", 4), on_done=lambda cell: None) == []
    log = there / f"{LONG}.log"
    killer = threading.Thread(target=kill_the_worker_of, args=[log], daemon=True)
    killer.start()
    done: list[str] = []
    failed = run_cells(
        cells, there, DaskTasks(there, "digits", scheduler), on_done=lambda cell: done.append(cell.name)
    )
    killer.join()
    assert failed == []
    assert sorted(done) == sorted(cell.name for cell in cells)
    assert every(
        (there / cell.name / "result.json").read_text() == (here / cell.name / "result.json").read_text()
        for cell in cells
    )
    epochs, workers = zip(*epochs_of(log), strict=True)
    assert len(dict.fromkeys(workers)) == 2
    # The lost worker may have been at an epoch without a checkpoint; no other is trained twice.
    assert [epoch for place, epoch in enumerate(epochs) if epoch not in epochs[:place]] == list(range(1, 31))
    assert len(epochs) <= 31
    others = {
        worker for cell in cells if cell.name != LONG for _, worker in epochs_of(there / f"{cell.name}.log")
    }
    assert others <= set(workers)


def test_what_a_local_run_left_is_resumed_and_failures_are_named(
    cells: tuple[Cell, ...], scheduler: str, tmp_path: Path
) -> None:
    full, *_ = cells
    stopped = stand_in.command(full, "pending", tmp_path, "digits")[:-1]
    subprocess.run([*stopped, "0"], check=True)
    (tmp_path / full.name / "result.json").unlink()
    (tmp_path / full.name / "checkpoint").write_text('[1, "left by a local run"]')
    # A file is where the folder of this cell should be, so that its process fails.
    (tmp_path / LONG).touch()
    lines: list[str] = []
    tasks = DaskTasks(tmp_path, "digits", scheduler, show=lines.append)
    failed = run_cells(cells[:3], tmp_path, tasks, on_done=lambda cell: None, show=lines.append)
    assert failed == [LONG]
    assert lines[0].startswith(f"Dask scheduler {scheduler}: ")
    assert (tmp_path / full.name / "result.json").read_text() == "left by a local run"
    assert f"{full.name}: resumed" in lines
    (line,) = (line for line in lines if line.startswith(f"{LONG}: failed"))
    assert "FileExistsError" in line


def test_a_cell_is_locked_as_long_as_its_process_runs(tmp_path: Path) -> None:
    sleep = [sys.executable, "-S", "-c", "import time; time.sleep(0.7)"]
    with _locked(tmp_path / "lock") as lock:
        process = subprocess.Popen(sleep, pass_fds=[lock.fileno()])
    with _locked(tmp_path / "lock"):
        assert process.poll() is not None


def test_leaving_ends_what_runs(cells: tuple[Cell, ...], scheduler: str, tmp_path: Path) -> None:
    long = next(cell for cell in cells if cell.name == LONG)
    with DaskTasks(tmp_path, "digits", scheduler) as tasks:
        tasks.start(long, "pending")
        while not epochs_of(tmp_path / f"{LONG}.log"):
            time.sleep(0.05)
    with _locked(tmp_path / f"{LONG}.lock"):
        assert len(epochs_of(tmp_path / f"{LONG}.log")) < 30
    assert not (tmp_path / LONG / "result.json").exists()


@pytest.mark.parametrize(
    ("cluster", "words"),
    [
        ("slrum", "unknown cluster 'slrum'; did you mean 'slurm'"),
        ("tcp://127.0.0.1:1", "the Dask scheduler at tcp://127.0.0.1:1 does not answer"),
        ("slurm", "dask-jobqueue cannot ask slurm for workers .*jobqueue.yaml"),
    ],
)
def test_refuses_clusters(cluster: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_launcher, "_CONNECT_SECONDS", 1)
    with pytest.raises(TrainingError, match=words), DaskTasks(tmp_path, "digits", cluster):
        pass


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--launcher", "dusk"], "unknown launcher 'dusk'; did you mean 'dask'"),
        (["--cluster", "slurm"], "--cluster goes with --launcher dask"),
    ],
)
def test_the_command_refuses(
    options: list[str], words: str, recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["grid", str(recipe), "--data", "digits", *options]) == 2
    assert words in capsys.readouterr().err


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ProxConnectError, match=r'--launcher dask needs .*install "proxconnect\[dask\]"'):
        DaskTasks(tmp_path, "digits")


@pytest.mark.full
def test_networks_are_those_of_a_local_run_though_a_worker_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pair_of_a_cluster.py").write_text(
        "import torch, proxconnect as pc\n"
        "soft = pc.ForwardBackward(lambda w, mu: torch.tanh(mu * w), name='soft sign')\n"
    )
    recipe = tmp_path / "real.toml"
    recipe.write_text(
        'title = "real"\n[options]\nlimit_train_batches = 3\n'
        '[[table]]\ntitle = "fp"\nregime = "fp"\nmodel = "resnet8"\noptions = { epochs = 1 }\n'
        '[[table]]\ntitle = "bw"\nregime = "ft"\nfull_precision = "resnet8-fp-s0"\nmodel = "resnet8"\n'
        'setting = "bw"\npair = "pair_of_a_cluster:soft"\noptions = { epochs = 8 }\n'
    )
    own = "resnet8-bw-ft-soft-sign-s0"

    def kill() -> None:
        while not (tmp_path / "there" / own / "checkpoint").exists():
            time.sleep(0.05)
        for process in psutil.process_iter(["cmdline"]):
            if process.info["cmdline"] and str(tmp_path / "there" / own) in process.info["cmdline"]:
                os.kill(process.ppid(), signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    command = ["grid", str(recipe), "--data", "digits"]
    with two_workers(tmp_path) as address:
        there = ["--runs", "there", "--results", "there-results", "--launcher", "dask", "--cluster", address]
        assert run([*command, *there]) == 0
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert run([*command, "--runs", "here", "--results", "here-results"]) == 0
    killer.join()
    assert "continues after epoch" in (tmp_path / "there" / f"{own}.log").read_text()
    for name in ("resnet8-fp-s0", own):
        models = [(tmp_path / place / name / "model.safetensors").read_bytes() for place in ("here", "there")]
        assert models[0] == models[1]
    pages = [(tmp_path / f"{place}-results" / "real.md").read_text() for place in ("here", "there")]
    assert every("`soft sign`" in page for page in pages)


def test_a_cluster_without_workers_is_named(
    cells: tuple[Cell, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_launcher, "_LOOK_SECONDS", 0.1)
    lines: list[str] = []

    def show(line: str) -> None:
        lines.append(line)
        if "no worker" in line:
            raise KeyboardInterrupt

    with LocalCluster(n_workers=0, dashboard_address=":0") as cluster:
        tasks = DaskTasks(tmp_path, "digits", cluster.scheduler_address, show=show)
        with pytest.raises(KeyboardInterrupt):
            run_cells(cells[:1], tmp_path, tasks, on_done=lambda cell: None)
    assert lines[0].endswith(": 0 workers")
    assert "cells wait until one comes" in lines[1]


@pytest.mark.full
def test_a_named_cluster_is_asked_for_workers(
    cells: tuple[Cell, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stand in for SLURM: its ``sbatch`` starts the script of a job here, and ``scancel`` ends it."""
    sbatch = (
        f'cp "$1" {tmp_path}/$$.sh; setsid bash {tmp_path}/$$.sh >/dev/null 2>&1 & echo $! >{tmp_path}/$$.pid'
    )
    scripts = {
        "sbatch": f'{sbatch}; echo "Submitted batch job $$"',
        "scancel": f"for job in $@; do kill -- -$(cat {tmp_path}/$job.pid); rm {tmp_path}/$job.pid; done",
    }
    (tmp_path / "bin").mkdir()
    for name, script in scripts.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/bash\n{script}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", HERE)
    job = {"cores": 1, "memory": "1GB", "local-directory": str(tmp_path), "log-directory": str(tmp_path)}
    runs = tmp_path / "runs"
    with dask.config.set({f"jobqueue.slurm.{key}": value for key, value in job.items()}):
        tasks = DaskTasks(runs, "digits", "slurm", 2)
        assert run_cells(cells[:3], runs, tasks, on_done=lambda cell: None) == []
    assert every((runs / cell.name / "result.json").is_file() for cell in cells[:3])
    assert not list(tmp_path.glob("*.pid"))
