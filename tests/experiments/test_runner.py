"""Running what is not done: order, resuming, failures; and what finished folders say."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from looking import every

from proxconnect.cli.app import run
from proxconnect.errors import TrainingError
from proxconnect.experiments import (
    Cell,
    LocalProcesses,
    Results,
    read_grid,
    record_of,
    run_cells,
    runner,
    state_of,
)

Finish = Callable[..., None]


def here(runs: Path, jobs: int = 1) -> LocalProcesses:
    return LocalProcesses(runs, "digits", jobs)


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Instead of training, cells run a program that succeeds but for ``bnn+`` with seed 0."""
    seen: list[str] = []

    def command(cell: Cell, state: str, runs: Path, data: str) -> list[str]:
        seen.append(f"{state} {cell.name}")
        return [sys.executable, "-S", "-c", f"print('ends'); raise SystemExit({int('bnn+-s0' in cell.name)})"]

    monkeypatch.setattr(runner, "command", command)
    return seen


@pytest.mark.parametrize("jobs", [1, 3])
def test_cells_run_after_what_they_start_from(
    recipe: Path, tmp_path: Path, commands: list[str], jobs: int
) -> None:
    done: list[str] = []
    failed = run_cells(
        read_grid(recipe).cells,
        tmp_path / "runs",
        here(tmp_path / "runs", jobs),
        on_done=lambda cell: done.append(cell.name),
    )
    assert failed == ["resnet20-bw-ft-bnn+-s0"]
    assert sorted(commands) == sorted(f"pending {name}" for name in [*done, *failed])
    for seed in (0, 1):
        assert done.index(f"resnet20-fp-s{seed}") < done.index(f"resnet20-bw-ft-bc-s{seed}")
    assert (tmp_path / "runs" / "resnet20-fp-s0.log").read_text() == "ends\n"


def test_finished_cells_are_not_run_and_interrupted_ones_are_resumed(
    recipe: Path, tmp_path: Path, commands: list[str], finish: Finish
) -> None:
    cells = read_grid(recipe).cells
    for cell in cells[:3]:
        finish(cell, tmp_path)
    (tmp_path / cells[2].name / "result.json").unlink()
    assert state_of(cells[2], tmp_path / cells[2].name) == "pending"
    (tmp_path / cells[2].name / "checkpoint").touch()
    run_cells(cells, tmp_path, here(tmp_path), on_done=lambda cell: None, show=lambda line: None)
    assert commands[0] == f"started {cells[2].name}"
    assert len(commands) == 6


def test_two_do_not_run_the_same_cells(recipe: Path, tmp_path: Path, commands: list[str]) -> None:
    cells = read_grid(recipe).cells

    def meanwhile(cell: Cell) -> None:
        with pytest.raises(TrainingError, match="another 'proxconnect grid' runs the cells in"):
            run_cells(cells, tmp_path, here(tmp_path), on_done=lambda cell: None)

    run_cells(cells[:1], tmp_path, here(tmp_path), on_done=meanwhile)
    assert len(commands) == 1


def test_what_was_run_elsewhere_is_not_run_again(
    recipe: Path, tmp_path: Path, commands: list[str], finish: Finish
) -> None:
    cells = read_grid(recipe).cells
    for cell in cells[:2]:
        finish(cell, tmp_path)
    recorded = [cell.name for cell in cells[:-1]]
    run_cells(cells, tmp_path, here(tmp_path), recorded=recorded, on_done=lambda cell: None)
    assert commands == [f"pending {cells[-1].name}"]


def test_a_start_that_was_run_elsewhere_is_trained_again_before_what_needs_it(
    recipe: Path, tmp_path: Path, commands: list[str]
) -> None:
    cells = read_grid(recipe).cells
    *_, last = cells
    recorded = [cell.name for cell in cells if cell != last]
    done: list[Cell] = []
    run_cells(cells, tmp_path, here(tmp_path), recorded=recorded, on_done=done.append)
    assert commands == [*(f"pending {name}" for name in last.needs), f"pending {last.name}"]
    assert done == [last]


def test_what_starts_from_a_failure_is_not_run(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        runner, "command", lambda *of: [sys.executable, "-S", "-c", "raise SystemExit('error: no')"]
    )
    lines: list[str] = []
    cells = read_grid(recipe).cells
    assert run_cells(cells, tmp_path, here(tmp_path), on_done=lambda cell: None, show=lines.append) == [
        cell.name for cell in (cells[0], *cells[2:5], cells[1], *cells[5:])
    ]
    assert "resnet20-fp-s0: failed with status 1; error: no (log: " in lines[1]
    assert "not run, because the run that it starts from failed" in lines[2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interruption_ends_what_runs(
    number: signal.Signals, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleep = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
    monkeypatch.setattr(runner, "command", lambda *of: sleep)
    started: list[subprocess.Popen[bytes]] = []
    plain = subprocess.Popen

    def remembered(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(plain(*arguments, **options))
        return started[-1]

    def interrupt(seconds: float) -> None:
        signal.raise_signal(number)

    monkeypatch.setattr(runner.subprocess, "Popen", remembered)
    monkeypatch.setattr(runner.time, "sleep", interrupt)
    before = signal.getsignal(signal.SIGTERM)
    # A shell's background processes, such as these tests may be, ignore Ctrl-C.
    ctrl_c = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            run_cells(
                read_grid(recipe).cells,
                tmp_path,
                here(tmp_path, 2),
                on_done=lambda cell: None,
            )
    finally:
        signal.signal(signal.SIGINT, ctrl_c)
    assert [process.returncode for process in started] == [-15, -15]
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_run_of_another_configuration_is_refused(recipe: Path, tmp_path: Path, finish: Finish) -> None:
    cells = read_grid(recipe).cells
    finish(cells[0], tmp_path)
    config = json.loads((tmp_path / cells[0].name / "config.json").read_text())
    # Where a run computes is no difference; nor is the sharpness of full precision.
    same = config | {"data": "elsewhere", "accelerator": "gpu", "mu_end": 7.0}
    (tmp_path / cells[0].name / "config.json").write_text(json.dumps(same))
    assert state_of(cells[0], tmp_path / cells[0].name) == "done"
    # The plan leaves the batch to the number of images, and so the learning rate of sgd.
    same = config | {"batch_size": 64, "lr": 0.05}
    (tmp_path / cells[0].name / "config.json").write_text(json.dumps(same))
    assert state_of(cells[0], tmp_path / cells[0].name) == "done"
    other = config | {"epochs": 3, "optimizer": "adam"}
    (tmp_path / cells[0].name / "config.json").write_text(json.dumps(other))
    with pytest.raises(TrainingError, match=r"epochs is 3, planned 1; .*Change the grid") as refusal:
        run_cells(cells, tmp_path, here(tmp_path), on_done=lambda cell: None)
    assert "optimizer is 'adam', planned 'sgd'" in str(refusal.value)


def test_records_of_folders(recipe: Path, tmp_path: Path, finish: Finish) -> None:
    cell = read_grid(recipe).cells[-1]
    finish(cell, tmp_path, 0.5)
    record = record_of(cell, tmp_path / cell.name)
    assert (record["packed"], record["bytes"], record["mu"], record["epochs"]) == (0.5, 1000, 300.0, 2)
    assert record["seconds"] == 20.0
    assert record["history"] == {"flip_rate": [0.1, 0.05]}
    shares = [0.75, *[0.0] * 22, 0.25]  # of layers with 3 latents and 1
    assert record["latents"] == {"1": shares, "2": shares}
    assert record["config"]["init"] == "resnet20-fp-s1"
    (tmp_path / cell.name / "result.json").write_text("{}")
    with pytest.raises(TrainingError, match=r"result.json is not a result of 'proxconnect train'"):
        record_of(cell, tmp_path / cell.name)


def test_results_keep_records_and_refuse_what_is_not_planned(
    recipe: Path, tmp_path: Path, finish: Finish
) -> None:
    grid = read_grid(recipe)
    path = tmp_path / "data" / "small.json"
    finish(grid.cells[0], tmp_path)
    record = record_of(grid.cells[0], tmp_path / grid.cells[0].name)
    results = Results(grid, path)
    results.add(grid.cells[0], {**record, "test": {"accuracy": 0.5}})
    results.add(grid.cells[0], record)
    again = Results(grid, path)
    assert again.records["resnet20-fp-s0"]["test"] == {"accuracy": 0.5}
    assert again.to_dict()["cells"]["resnet20-fp-s1"]["status"] == "pending"
    text = recipe.read_text()
    recipe.write_text(text.replace("epochs = 1", "epochs = 5"))
    with pytest.raises(TrainingError, match="epochs is 1, planned 5"):
        Results(read_grid(recipe), path)
    recipe.write_text(text.replace("-fp-s{seed}", "-fp-s1").replace("seed = [0, 1]", "seed = 1"))
    with pytest.raises(TrainingError, match="result that the grid does not plan"):
        Results(read_grid(recipe), path)
    path.write_text('{"cells": {"a": {}}}')
    with pytest.raises(TrainingError, match="is not a file of results"):
        Results(grid, path)


def test_the_command_adopts_renders_and_lists(
    recipe: Path, tmp_path: Path, finish: Finish, capsys: pytest.CaptureFixture[str]
) -> None:
    for cell in read_grid(recipe).cells[:4]:
        finish(cell, tmp_path / "runs")
    places = ["--runs", str(tmp_path / "runs"), "--results", str(tmp_path / "results")]
    assert run(["grid", str(recipe), *places, "--list"]) == 0
    assert capsys.readouterr().out.count("pending ") == 4
    assert not (tmp_path / "results").exists()
    assert run(["grid", str(recipe), *places, "--render", "--json"]) == 0
    states = json.loads(capsys.readouterr().out)["cells"]
    assert list(states.values()).count("done") == 4
    page = (tmp_path / "results" / "small.md").read_text()
    assert "4 of 8 cells are done." in page
    assert (tmp_path / "results" / "small-pareto.png").read_bytes().startswith(b"\x89PNG")
    for figure in ("flips", "latents"):
        assert f"(small-{figure}.png)" in page
        assert (tmp_path / "results" / f"small-{figure}.png").is_file()
    # Records stay where the folders are gone.
    capsys.readouterr()
    again = ["grid", str(recipe), "--runs", str(tmp_path / "none"), *places[2:], "--render"]
    assert run([*again, "--quiet"]) == 0
    assert (tmp_path / "results" / "small.md").read_text() == page
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["done"] * 4 + [
        "pending"
    ] * 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{grid}"], "training needs --data"),
        (["{grid}", "--list", "--render"], "give one of --list, --render and --test"),
        (["none.toml"], "cannot read grid none.toml"),
        (["{grid}", "--test"], "--test needs --data"),
    ],
)
def test_the_command_refuses(
    arguments: list[str], words: str, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = ["--runs", str(tmp_path / "runs"), "--results", str(tmp_path / "results")]
    assert run(["grid", *(each.format(grid=recipe) for each in arguments), *places]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert words in error
    assert not (tmp_path / "results").exists()


def test_the_command_says_that_a_run_failed(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        runner, "command", lambda *of: [sys.executable, "-S", "-c", "raise SystemExit('error: no')"]
    )
    places = ["--runs", str(tmp_path / "runs"), "--results", str(tmp_path / "results")]
    assert run(["grid", str(recipe), "--data", "digits", *places]) == 1
    assert "failed   resnet20-fp-s0" in capsys.readouterr().out


@pytest.mark.full
def test_a_grid_from_planning_to_the_test_split(recipe: Path, tmp_path: Path) -> None:
    recipe.write_text(
        recipe.read_text().replace('"ft"', '"pt"').replace('"bnn+", "bnn++"]\nseed', '"bnn++"]\nseed')
    )
    places = [
        "--runs",
        str(tmp_path / "runs"),
        "--results",
        str(tmp_path / "results"),
        "--limit-train-batches",
        "2",
    ]
    command = ["grid", str(recipe), "--data", "digits", *places]
    assert run([*command, "--jobs", "2"]) == 0
    cells = json.loads((tmp_path / "results" / "data" / "small.json").read_text())["cells"]
    assert {cell["status"] for cell in cells.values()} == {"done"}
    assert cells["resnet20-bw-pt-bc-s0"]["record"]["origin"]["threads"] == 1
    assert run([*command, "--test"]) == 0
    cells = json.loads((tmp_path / "results" / "data" / "small.json").read_text())["cells"]
    assert every(cell["record"]["test"]["images"] == 360 for cell in cells.values())
    # Not trained, such a run has the histogram of its one checkpoint.
    (histogram,) = cells["resnet20-bw-pt-bc-s0"]["record"]["latents"].values()
    assert sum(histogram) == pytest.approx(1)


def test_of_a_long_run_a_few_histograms_are_kept(recipe: Path, tmp_path: Path, finish: Finish) -> None:
    recipe.write_text(recipe.read_text().replace("epochs = 2", "epochs = 100"))
    cell = read_grid(recipe).cells[-1]
    finish(cell, tmp_path)
    record = record_of(cell, tmp_path / cell.name)
    assert list(record["latents"]) == ["1", "21", "41", "60", "80", "100"]
    assert len(record["history"]["flip_rate"]) == 100
