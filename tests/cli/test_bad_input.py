"""Every command answers bad input with status 2 and one line, and leaves everything as it was."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from refusing import error_of
from torch import Tensor, nn
from vectors import bad

import proxconnect as pc
from proxconnect.base import files
from proxconnect.cli.app import run
from proxconnect.trainer import read_checkpoint

NEW = ["train", "--model", "resnet8", "--data", "digits", "--epochs", "1", "--out", "{new}"]
GRID = """
title = "A grid"
[[table]]
title = "A table"
regime = "fp"
model = "resnet8"
"""


@pytest.fixture(scope="module")
def trained(finished_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(finished_runs / "fp", tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def places(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Names that arguments may ask for, in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("a file")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis").write_text("years of work")
    (tmp_path / "grid.toml").write_text(GRID)
    os.mkfifo(tmp_path / "pipe")
    return {
        "new": "new",
        "cache": str(trained.parent / "cache"),
        "run": str(trained),
        "checkpoint": str(trained / "checkpoint"),
        "model": str(trained / "model.safetensors"),
    }


def everything(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.lstat().st_mode, path.lstat().st_size) for path in sorted(folder.rglob("*"))}


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that refuses its arguments and leaves files as they are; return the line of the error."""
    before = everything(Path.cwd())
    error = error_of(arguments, capsys)
    assert everything(Path.cwd()) == before
    return error


READS = {
    "pack": (["pack", "{input}", "--out", "new"], "checkpoint"),
    "pack a folder": (["pack", "{folder}", "--out", "new"], "checkpoint"),
    "eval": (["eval", "{input}", "--data", "digits"], "model.safetensors"),
    "predict": (["predict", "{input}", "image.png"], "model.safetensors"),
    "resume": (["train", "--resume", "{folder}"], "checkpoint"),
    "init": ([*NEW, "--init", "{input}"], "checkpoint"),
    "teacher": ([*NEW, "--teacher", "{input}"], "checkpoint"),
    "sensitivity": (["train", "--sensitivity", "--init", "{input}"], "checkpoint"),
    "recipe": (["train", "--recipe", "{input}", "--out", "new"], "config.json"),
    "grid": (["grid", "{input}", "--data", "digits"], "config.json"),
    "image": (["predict", "{model}", "{input}"], "model.safetensors"),
    "data": ([*NEW[:3], "--data", "{input}", "--out", "new"], "model.safetensors"),
    "parquet": ([*NEW[:3], "--data", "{data}", "--out", "new"], "model.safetensors"),
}


def absent(path: Path, whole: bytes) -> None:
    pass


def unreadable(path: Path, whole: bytes) -> None:
    path.write_bytes(whole)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("root may read everything")


KINDS: dict[str, Callable[[Path, bytes], object]] = {
    "absent": absent,
    "a folder": lambda path, whole: path.mkdir(),
    "empty": lambda path, whole: path.write_bytes(b""),
    "garbage": lambda path, whole: path.write_bytes(bytes(range(256)) * 8),
    "text": lambda path, whole: path.write_text("Dear diary,\n"),
    "cut short": lambda path, whole: path.write_bytes(whole[: len(whole) // 2]),
    "a pipe": lambda path, whole: os.mkfifo(path),
    "a link to itself": lambda path, whole: path.symlink_to(path.name),
    "unreadable": unreadable,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("command", READS)
def test_files_that_cannot_be_read(
    command: str, kind: str, trained: Path, places: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, like = READS[command]
    folder = Path("input")
    folder.mkdir()
    names = {"parquet": "train.parquet", "resume": "checkpoint", "pack a folder": "checkpoint"}
    name = names.get(command, "it")
    KINDS[kind](folder / name, (trained / like).read_bytes())
    places |= {"input": str(folder / name), "folder": str(folder), "data": str(folder)}
    refused([argument.format(**places) for argument in arguments], capsys)


WRITES = {
    "pack": ["pack", "{run}", "--overwrite", "--out", "{output}"],
    "check": ["check", "bnn++", "--plot", "{output}"],
    "sensitivity": [
        "train",
        "--sensitivity",
        "--init",
        "{run}",
        "--limit-val-batches",
        "1",
        "--plot",
        "{output}",
    ],
}
TARGETS = {
    "a folder": ("folder", "it is a folder"),
    "a pipe": ("pipe", "it is a pipe"),
    "in no folder": ("mistyped/it", "there is no folder"),
    "in a file": ("file/it", "Not a directory"),
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("command", WRITES)
def test_places_that_cannot_be_written(
    command: str, target: str, places: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    output, words = TARGETS[target]
    if command != "pack":
        if target in ("a folder", "a pipe"):
            Path(output).rename(f"{output}.png")
            output += ".png"
        elif "." not in output:
            output += ".png"
    arguments = [argument.format(**places, output=output) for argument in WRITES[command]]
    assert words in refused(arguments, capsys)


FOLDERS = {
    "a file": ("file", "is a file"),
    "not a run": ("folder", "does not hold a run"),
    "in no folder": ("mistyped/runs/it", "there is no folder"),
    "in a file": ("file/it", "is a file"),
    "a pipe": ("pipe", "is a file"),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_folders_that_a_run_cannot_have(
    name: str, places: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    output, words = FOLDERS[name]
    assert words in refused([*NEW[:-1], output, "--overwrite"], capsys)


@pytest.mark.parametrize("option", ["--runs", "--results"])
@pytest.mark.parametrize("place", ["file", "file/it", "mistyped/runs/it"])
def test_folders_that_a_grid_cannot_have(
    option: str, place: str, places: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    other = {"--runs": "--results", "--results": "--runs"}[option]
    refused(["grid", "grid.toml", "--data", "digits", option, place, other, "folder"], capsys)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("command", ["pack", "check", "train"])
def test_disks_that_are_full_or_read_only(
    command: str,
    number: int,
    places: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    if number == errno.ENOSPC:
        monkeypatch.setattr(files.os, "fsync", refuse)
    else:
        monkeypatch.setattr(files.tempfile, "mkdtemp", refuse)
    if command == "train":
        Path("new").mkdir()  # as it would be made
        arguments = NEW
    else:
        arguments = WRITES[command]
    said = refused([argument.format(**places, output="it.png") for argument in arguments], capsys)
    assert os.strerror(number) in said


def test_a_disk_that_is_full_for_the_logs(
    places: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tensorboard.summary.writer.record_writer.RecordWriter.write", refuse)
    capsys.readouterr()
    assert run([*NEW[:-1], "new", "--limit-train-batches", "1", "--limit-val-batches", "1"]) == 2
    assert capsys.readouterr().err == "error: cannot write new: No space left on device\n"


OUT_OF_RANGE = [
    *(("--seed", value) for value in ("-1", str(2**64), "1e3", "9" * 5000)),
    *(("--scale", value) for value in ("0", "-5", "99999999999", "9" * 5000, "1.5", "channels", "")),
    *(("--levels", value) for value in ("nan,1", "-1,inf", "1,-1", "1", "", "a,b", "-1,1e999")),
    *(("--mu-end", value) for value in ("0", "-1", "nan", "inf", "1e39")),
    *(("--mu-start", value) for value in ("0", "nan", "1e39")),
    *(("--mu-fraction", value) for value in ("0", "1.5", "nan")),
    *(("--lr", value) for value in ("0", "-1", "nan", "inf", "fast")),
    *(("--latent-lr", value) for value in ("0", "nan")),
    *(("--latent-clip", value) for value in ("0", "-1", "nan")),
    *(("--weight-decay", value) for value in ("-1", "nan", "inf")),
    *(("--batch-size", value) for value in ("0", "-1", str(10**30))),
    *(("--epochs", value) for value in ("-1", "0", str(10**30), "1.5")),
    *(("--image-size", value) for value in ("0", "-1", "1000000", str(10**30))),
    *(("--limit-train-batches", value) for value in ("0", str(10**30))),
    *(("--limit-val-batches", value) for value in ("0", str(10**30))),
    *(("--devices", value) for value in ("0", "-1", str(10**30))),
    *(("--stages", value) for value in ("both", "both:x", "both:2", "none:1", "")),
    *(("--pair", value) for value in ("absent:it", "absent", ":", "json:dumps", "proxconnect.py:x")),
    *(("--accelerator", value) for value in ("abacus", "")),
    *(("--strategy", value) for value in ("abacus", "")),
    *(("--model", value) for value in ("resnet21", "")),
    *(("--data", value) for value in ("mistyped", "", "file", "folder", "~nobody/at/all")),
    *(("--activations", value) for value in ("bnn", "x")),
    *(("--accumulator-bits", value) for value in ("8", "64")),
    *(("--optimizer", value) for value in ("adm", "")),
    *(("--distill-weight", value) for value in ("2", "-1", "nan")),
]


@pytest.mark.parametrize(("option", "value"), OUT_OF_RANGE, ids=lambda text: text[:20])
def test_options_out_of_range(
    option: str, value: str, places: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    refused([*NEW[:-1], "new", f"{option}={value}"], capsys)


@pytest.mark.parametrize(
    "arguments",
    [
        ["eval", "{model}", "--data", "digits", "--batch-size", "0"],
        ["eval", "{model}", "--data", "digits", "--split", "x"],
        ["eval", "{model}", "--data", "digits", "--kernels", "x"],
        ["eval", "{model}", "--data", "digits", "--activations", "int9"],
        ["eval", "{model}", "--data", "mistyped"],
        ["eval", "--zoo", "x", "--data", "digits"],
        ["eval", "--data", "digits"],
        ["predict", "{model}"],
        ["predict", "{model}", "file", "--top", "0"],
        ["pack", "{run}", "--rest", "int4", "--out", "new"],
        ["check", "bnn+++"],
        ["check", "bnn", "--mu", "0"],
        ["check", "bnn", "--mu", "nan"],
        ["check", "bnn", "--domain", "1", "1"],
        ["check", "bnn", "--plot", "new.abc"],
        ["check", "--pair", "absent:it"],
        ["grid", "grid.toml"],
        ["grid", "grid.toml", "--list", "--render"],
        ["grid", "grid.toml", "--data", "digits", "--jobs", "0"],
    ],
    ids=" ".join,
)
def test_other_arguments(
    arguments: list[str], places: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    refused([argument.format(**places) for argument in arguments], capsys)


class Gives(nn.Module):
    """A network that answers with something of another form."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form
        self.layer = nn.Linear(64, 3)

    def forward(self, images: Tensor) -> object:
        scores = self.layer(images.flatten(1))
        if self.form == "two":
            return scores, scores
        if self.form == "named":
            return {"scores": scores}
        if self.form == "places":
            return scores.unsqueeze(2)
        return scores.argmax(1) if self.form == "labels" else scores


PREPROCESSING = {"mode": "L", "size": [8, 8], "mean": [0.5], "std": [0.5], "resize": "bilinear"}
IMAGES = torch.zeros(2, 1, 8, 8)


def saved(model: nn.Module, *inputs: Tensor, **values: Any) -> Callable[[], Path]:
    return lambda: pc.save(model, "it", inputs or None, **{"preprocessing": PREPROCESSING, **values})


def strange() -> Path:
    """Copy a file whose preprocessing this library would not have saved."""
    return Path(shutil.copy(bad("header-preprocessing-lacks-a-key"), "it"))


UNFIT: dict[str, Callable[[], Path]] = {
    **{f"answers with {form}": saved(Gives(form), IMAGES) for form in ("two", "named", "places", "labels")},
    "for vectors": saved(nn.Linear(5, 3), torch.zeros(2, 5)),
    "for larger images": saved(Gives("scores"), IMAGES, preprocessing={**PREPROCESSING, "size": [9, 9]}),
    "for text": saved(nn.Embedding(9, 3), torch.zeros(2, 4, dtype=torch.int64)),
    "of two inputs": saved(nn.Bilinear(5, 5, 3), torch.zeros(2, 5), torch.zeros(2, 5)),
    "without preprocessing": saved(Gives("scores"), IMAGES, preprocessing=None),
    "with a strange preprocessing": strange,
    "without a network": saved(Gives("scores")),
    "of other classes": saved(Gives("scores"), IMAGES, classes=["one", "two"]),
}


@pytest.mark.parametrize("name", UNFIT)
def test_networks_that_load_and_cannot_classify_images(
    name: str, places: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    UNFIT[name]()
    Image.new("L", (8, 8)).save("image.png")
    for command in (["eval", "it", "--data", "digits"], ["predict", "it", "image.png"]):
        refused(command, capsys)


def test_a_network_of_fewer_classes_than_the_data_is_pointed_out(
    places: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    pc.save(Gives("scores"), "it", IMAGES, preprocessing=PREPROCESSING)
    said = refused(["eval", "it", "--data", "digits"], capsys)
    assert "the data have label 9, but the network knows 3 classes" in said


def test_data_of_one_class_is_pointed_out(
    places: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    Path("set/train/cat").mkdir(parents=True)
    for index in range(4):
        Image.new("RGB", (8, 8), (index, 0, 0)).save(f"set/train/cat/{index}.png")
    monkeypatch.setenv("PROXCONNECT_CACHE", str(places["cache"]))
    said = refused([*NEW[:3], "--data", "set", "--out", "new"], capsys)
    assert f"all images to train on in {Path('set').absolute()} are of one class, 'cat'" in said


def test_nothing_is_imported_that_a_file_names(
    places: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("evil_pair.py").write_text("open('imported', 'a').close()")
    Path("recipe.toml").write_text('pair = "evil_pair:x"')
    said = refused([*NEW[:-1], "new", "--recipe", "recipe.toml"], capsys)
    assert "imported only where you name it: add --pair evil_pair:x" in said
    content = torch.load(places["checkpoint"], weights_only=True)
    content["proxconnect"]["config"].update(pair="evil_pair:x", setting="bw", method="mine")
    torch.save(content, "checkpoint")
    # What is packed needs no pair; what trains does.
    assert run(["pack", "checkpoint", "--out", "packed"]) == 0
    for command in (
        ["train", "--resume", "."],
        ["train", "--sensitivity", "--init", "checkpoint"],
        [*NEW, "--init", "checkpoint"],
        [*NEW, "--teacher", "checkpoint"],
    ):
        refused([argument.format(**places) for argument in command], capsys)
    assert "evil_pair" not in sys.modules
    assert not Path("imported").exists()


@pytest.fixture
def interrupting(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Ctrl-C where a function of this dotted name is called."""

    def stop(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    return lambda name: monkeypatch.setattr(name, stop)


INTERRUPTIONS = {
    "proxconnect.trainer.run.load_data": "interrupted; nothing was written",
    "proxconnect.trainer.run._fit": (
        "interrupted; no epoch was completed: begin anew with --out new --overwrite"
    ),
    "proxconnect.cli.train._as_trained": (
        "interrupted after epoch 1 of 1; continue with: proxconnect train --resume new"
    ),
}


@pytest.mark.parametrize("where", INTERRUPTIONS)
def test_ctrl_c_says_that_it_stopped_and_how_to_go_on(
    where: str,
    places: dict[str, str],
    interrupting: Callable[[str], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    interrupting(where)
    short = ["--limit-train-batches", "1", "--limit-val-batches", "1"]
    assert run([*NEW[:-1], "new", *short]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == INTERRUPTIONS[where]


def test_ctrl_c_of_a_grid_and_of_other_commands(
    places: dict[str, str], interrupting: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    interrupting("proxconnect.experiments.run_cells")
    assert run(["grid", "grid.toml", "--data", "digits", "--results", "folder"]) == 130
    assert capsys.readouterr().err == "interrupted; the same command continues where it stopped\n"
    interrupting("proxconnect.cli.pack.write_packed")
    assert run(["pack", places["run"], "--out", "new"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_the_trained_run_is_as_it_was(trained: Path) -> None:
    assert read_checkpoint(trained).config.setting == "fp"
