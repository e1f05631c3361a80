"""``proxconnect train``: recipes, sensitivity and help."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest
from looking import every

from proxconnect.cli.app import run
from proxconnect.trainer import TrainConfig

SHORT = ["--model", "resnet8", "--data", "digits", "--limit-train-batches", "2", "--batch-size", "64"]


@pytest.fixture(scope="module")
def full_precision(finished_runs: Path) -> Path:
    return finished_runs / "fp"


def test_options_go_before_the_recipe(
    full_precision: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        'model = "resnet8"\ndata = "digits"\nmethod = "bc"\nepochs = 7\nlimit_train_batches = 2\n'
        f'stages = "none:1,weights:1"\nteacher = "{full_precision}"\ndistill_weight = 0.25\n'
    )
    out = tmp_path / "run"
    assert run(["train", "--recipe", str(recipe), "--epochs", "2", "--out", str(out)]) == 0
    config = TrainConfig.from_dict(json.loads((out / "config.json").read_text()))
    assert (config.epochs, config.method, config.distill_weight) == (2, "bc", 0.25)
    assert (config.stages, config.lr) == ("none:1,weights:1", 2e-3)
    again = ["train", "--recipe", str(recipe), "--resume", str(out)]
    assert run(again) == 2
    assert "stages 'none:1,weights:1' have 2 epochs together" in capsys.readouterr().err
    assert run([*again, "--epochs", "2", "--json"]) == 0


def test_sensitivity_prints_a_table_and_draws_it(
    full_precision: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "train",
        "--sensitivity",
        "--init",
        str(full_precision),
        "--data",
        "digits",
        "--limit-val-batches",
        "1",
    ]
    plot = tmp_path / "sensitivity.png"
    assert run([*command, "--json", "--plot", str(plot), "--limit-train-batches", "1"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert len(result["layers"]) == 8
    assert (result["images"], result["calibration_images"]) == (32, 32)
    assert every(
        each["lost"] == pytest.approx(result["baseline"] - each["accuracy"]) for each in result["layers"]
    )
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert run([*command, "--no-recalibrate"]) == 0
    printed = capsys.readouterr().out
    assert "each layer binarized alone, on 32 validation images" in printed
    assert "blocks.2.conv2" in printed
    assert "BatchNorm not settled" in printed
    assert printed.splitlines()[-1].startswith("keep in full precision: the first and the last layer (conv, ")


REFUSALS = {
    "no checkpoint": (["--sensitivity", "--data", "digits"], "pass --init RUN"),
    "nothing trained": (
        ["--sensitivity", "--init", "{fp}", "--epochs", "3"],
        "trains nothing and takes no --epochs",
    ),
    "no folder": (["--sensitivity", "--init", "{fp}", "--out", "{new}"], "leave out --out"),
    "other model": (
        ["--sensitivity", "--init", "{fp}", "--model", "resnet32"],
        "has model 'resnet8', not 'resnet32'",
    ),
    "plot alone": ([*SHORT, "--plot", "{new}.png", "--out", "{new}"], "goes with --sensitivity"),
    "recipe": (["--recipe", "{new}.toml", "--out", "{new}"], "cannot read recipe"),
    "stages": ([*SHORT, "--stages", "activations:10", "--out", "{new}"], "leaves in full precision"),
    "features": ([*SHORT, "--distill-features", "head", "--out", "{new}"], "needs a teacher"),
    "strategy": ([*SHORT, "--strategy", "dpd", "--out", "{new}"], "cannot train with"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals_are_one_line_and_status_two(
    case: str, full_precision: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, words = REFUSALS[case]
    places = {"fp": str(full_precision), "new": str(tmp_path / "new")}
    assert run(["train", *(argument.format(**places) for argument in arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert words in captured.err
    assert not (tmp_path / "new").exists()


def test_help_has_every_option_in_a_panel(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "--help"]) == 0
    text = capsys.readouterr().out
    for each in fields(TrainConfig):
        assert f"--{each.name.replace('_', '-')}" in text
        assert each.metadata["panel"] in text
    first = text[text.index("Essentials") : text.index("Binarization")]
    assert first.count("│ --") == 11
    assert "(default: 10)" in " ".join(first.split())
