"""The commands end to end, with their exit statuses and their one-line refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from refusing import error_of

import proxconnect as pc
from proxconnect.cli.app import run
from proxconnect.data import load_split
from proxconnect.trainer import read_checkpoint

SHORT = ["--model", "resnet8", "--data", "digits", "--batch-size", "64"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a full-precision run, and fine-tune a BNN++ run from it."""
    folder = tmp_path_factory.mktemp("runs")
    assert run(["train", *SHORT, "--setting", "fp", "--epochs", "4", "--out", str(folder / "fp")]) == 0
    tuned = [*SHORT, "--setting", "bw", "--method", "bnn++", "--epochs", "4", "--init", str(folder / "fp")]
    assert run(["train", *tuned, "--out", str(folder / "bw")]) == 0
    return folder


def test_train_leaves_a_packed_model_that_agrees_with_the_trained_one(runs: Path) -> None:
    result = json.loads((runs / "bw" / "result.json").read_text())
    assert abs(result["trained"]["accuracy"] - result["packed"]["accuracy"]) <= 0.02
    assert result["bytes"] == (runs / "bw" / "model.safetensors").stat().st_size
    assert result["bytes"] < 0.1 * (runs / "fp" / "model.safetensors").stat().st_size


def test_the_packed_model_answers_as_the_hardened_checkpoint(runs: Path) -> None:
    hardened = pc.harden_(read_checkpoint(runs / "bw").build_model())
    inputs = torch.rand(7, 1, 8, 8)
    packed = pc.load(runs / "bw" / "model.safetensors", kernels="reference")
    with torch.inference_mode():
        assert torch.equal(packed(inputs), hardened(inputs))


def test_eval_counts_right_answers(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = runs / "bw" / "model.safetensors"
    assert run(["eval", str(file), "--data", "digits", "--split", "test", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    images = load_split("digits", "test")
    net = pc.load(file)
    inputs = (images.images.float() / 255 - torch.tensor(net.preprocessing["mean"])) / torch.tensor(
        net.preprocessing["std"]
    )
    with torch.inference_mode():
        right = (net(inputs).argmax(1) == images.labels).float().mean().item()
    assert result["accuracy"] == pytest.approx(right, abs=1 / 360 + 1e-6)
    assert result["images"] == 360
    assert right > 0.3
    narrow = ["eval", str(file), "--data", "digits", "--activations", "int6"]
    assert run([*narrow, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["activations"] == "int6"
    assert result["accuracy"] == pytest.approx(right, abs=0.1)
    assert run([*narrow, "--kernels", "reference"]) == 2
    assert "'int6' is computed by kernels='fast'" in capsys.readouterr().err


def test_pack_writes_what_was_asked_for(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = []
    for rest in ("float32", "float16", "int8"):
        out = tmp_path / f"{rest}.safetensors"
        assert run(["pack", str(runs / "bw"), "--out", str(out), "--rest", rest]) == 0
        sizes.append(out.stat().st_size)
        assert "1 bit" in capsys.readouterr().out
        assert run(["eval", str(out), "--data", "digits"]) == 0
    assert sizes == sorted(sizes, reverse=True)
    assert run(["pack", str(runs / "bw" / "checkpoint"), "--out", str(tmp_path / "float32.safetensors")]) == 2
    assert "exists; choose another name or pass --overwrite" in capsys.readouterr().err


def test_predict_takes_images_of_any_size(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = runs / "bw" / "model.safetensors"
    scan = load_split("digits", "test").images[0, 0]
    small, large = tmp_path / "small.png", tmp_path / "large.png"
    Image.fromarray(scan.numpy()).save(small)
    Image.fromarray(scan.numpy()).convert("RGB").resize((80, 80)).save(large)
    assert run(["predict", str(file), str(small), str(large), "--json", "--top", "2"]) == 0
    answers = json.loads(capsys.readouterr().out)
    assert [answer["image"] for answer in answers] == [str(small), str(large)]
    for answer in answers:
        assert [set(p) for p in answer["predictions"]] == [{"class", "probability"}] * 2
        assert answer["predictions"][0]["probability"] >= answer["predictions"][1]["probability"]
    assert run(["predict", str(file), str(small)]) == 0
    assert str(small) in capsys.readouterr().out


def test_resume_finishes_a_finished_run(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "--resume", str(runs / "bw"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["packed"]["images"] == 180
    assert result["metrics"]["flip_rate"] < 1


REFUSALS = {
    "no command": (["trian"], "No such command 'trian'"),  # codespell:ignore
    "unknown option": (["train", "--epoch", "3"], "No such option: --epoch"),
    "model": (
        ["train", "--model", "resnet21", "--data", "digits", "--out", "{new}"],
        "unknown model 'resnet21'",
    ),
    "method": (["train", *SHORT, "--method", "bnnn", "--out", "{new}"], "did you mean 'bnn'"),
    "setting": (["train", *SHORT, "--setting", "bww", "--out", "{new}"], "unknown setting 'bww'"),
    "data": (["train", "--model", "resnet8", "--data", "{new}", "--out", "{new}"], "{new}"),
    "used folder": (["train", *SHORT, "--out", "{bw}"], "is not empty"),
    "changed resume": (["train", "--resume", "{bw}", "--seed", "9"], "seed was 0, now 9"),
    "no run": (["train", "--resume", "{new}"], "no checkpoint at {new}"),
    "pack of nothing": (["pack", "{new}"], "no checkpoint at {new}"),
    "rest": (["pack", "{bw}", "--out", "{new}", "--rest", "int4"], "int4"),
    "missing file": (["eval", "{new}", "--data", "digits"], "{new}"),
    "not a packed file": (["eval", "{bw}/config.json", "--data", "digits"], "config.json"),
    "truncated": (["eval", "{truncated}", "--data", "digits"], "truncated"),
    "split": (
        ["eval", "{bw}/model.safetensors", "--data", "digits", "--split", "tset"],
        "did you mean 'test'",
    ),
    "kernels": (
        ["eval", "{bw}/model.safetensors", "--data", "digits", "--kernels", "fats"],
        "did you mean 'fast'",
    ),
    "missing image": (["predict", "{bw}/model.safetensors", "{new}.png"], "{new}.png"),
    "not an image": (["predict", "{bw}/model.safetensors", "{bw}/config.json"], "config.json"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals_are_one_line_and_status_two(
    case: str, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, words = REFUSALS[case]
    truncated = tmp_path / "truncated.safetensors"
    truncated.write_bytes((runs / "bw" / "model.safetensors").read_bytes()[:-100])
    places = {"new": str(tmp_path / "new"), "bw": str(runs / "bw"), "truncated": str(truncated)}
    assert words.format(**places) in error_of([argument.format(**places) for argument in arguments], capsys)
    assert not (tmp_path / "new").exists()


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    captured = capsys.readouterr()
    assert "predict" in captured.out
    assert captured.err == ""


@pytest.mark.parametrize("command", ["train", "pack", "eval", "predict"])
def test_help_names_every_option(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert "Usage: proxconnect" in text
    assert "--json" in text
