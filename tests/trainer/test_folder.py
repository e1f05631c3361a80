"""The folder of a run that was killed, at whatever moment, can be resumed or overwritten."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proxconnect.base import files
from proxconnect.cli.app import run
from proxconnect.errors import TrainingError, WriteError
from proxconnect.trainer import folder, read_checkpoint
from proxconnect.trainer.folder import clean_folder, prepare_folder
from proxconnect.trainer.interruption import interrupted

NAMES = {
    "checkpoint", "config.json", "curves.png", "layers.csv", "metrics.csv", "model.safetensors",
    "result.json", "tensorboard",
}  # fmt: skip
LEFTOVERS = (".config.json.abcdefgh", ".checkpoint.a1b2c3d4", ".model.safetensors.abcdefgh", ".tmpAbC123")
TRAIN = (
    "train --model resnet8 --data digits --setting fp --epochs 1 "
    "--limit-train-batches 1 --limit-val-batches 1"
)


class KilledError(BaseException):
    """Ends everything, and nothing is tidied up."""


def make_run(out: Path, names: set[str] = NAMES) -> None:
    out.mkdir(exist_ok=True)
    for name in names:
        if name == "tensorboard":
            (out / name).mkdir()
            (out / name / "log").touch()
        else:
            (out / name).touch()


def kill_at(moment: int, monkeypatch: pytest.MonkeyPatch, *places: tuple[Any, str]) -> None:
    """End in the call with this number, from 0, of any of the functions at these places."""
    calls = itertools.count()

    def killing(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if next(calls) >= moment:
                raise KilledError
            return function(*arguments, **options)

        return call

    for owner, name in places:
        monkeypatch.setattr(owner, name, killing(getattr(owner, name)))


# The files of a run in order, each killed before it has its name.
@pytest.mark.parametrize("moment", range(6))
def test_a_run_killed_before_any_of_its_files_appears(
    moment: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, copy = tmp_path / "run", tmp_path / "copy"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files.shutil, "rmtree", lambda *arguments, **options: None)
        kill_at(moment, patch, (Path, "replace"))
        with pytest.raises(KilledError):
            run([*TRAIN.split(), "--out", str(out)])
    assert any(name.startswith(".") for name in os.listdir(out))
    shutil.copytree(out, copy)
    prepare_folder(copy, overwrite=True)
    assert os.listdir(copy) == []
    capsys.readouterr()
    if moment < 3:
        assert run(["train", "--resume", str(out)]) == 2
        assert "no checkpoint at" in capsys.readouterr().err
    else:
        assert run(["train", "--resume", str(out)]) == 0
        assert set(os.listdir(out)) == NAMES - {"layers.csv"}  # a run in full precision has no such layers
        assert read_checkpoint(out).epoch == 1


@pytest.mark.parametrize("other", [False, True], ids=["a run alone", "with another file"])
@pytest.mark.parametrize("moment", range(len(NAMES)))
def test_overwriting_that_was_killed_can_be_done_again(moment: int, other: bool, tmp_path: Path) -> None:
    make_run(tmp_path)
    if other:
        (tmp_path / "thesis").write_text("years of work")
    with pytest.MonkeyPatch.context() as patch:
        kill_at(moment, patch, (Path, "unlink"), (folder.shutil, "rmtree"))
        with pytest.raises(KilledError):
            prepare_folder(tmp_path, overwrite=True)
    prepare_folder(tmp_path, overwrite=True)
    assert os.listdir(tmp_path) == ["thesis"] * other


@pytest.mark.parametrize("names", [set(), {"config.json"}, NAMES - {"result.json"}, NAMES], ids=sorted)
def test_leftovers_are_removed_and_count_for_nothing(names: set[str], tmp_path: Path) -> None:
    make_run(tmp_path, names)
    for name in LEFTOVERS:
        (tmp_path / name).touch()
    (tmp_path / ".result.json.abcdefgh").mkdir()
    (tmp_path / ".result.json.abcdefgh" / "result.json").touch()
    clean_folder(tmp_path)
    assert set(os.listdir(tmp_path)) == names
    if names:
        with pytest.raises(TrainingError, match="is not empty; choose another folder, --resume it, or pass"):
            prepare_folder(tmp_path, overwrite=False)
    else:
        prepare_folder(tmp_path, overwrite=False)


def test_files_of_others_are_never_removed(tmp_path: Path) -> None:
    make_run(tmp_path, {"metrics.csv", "checkpoint"})
    others = {"thesis", ".hidden", ".config", ".temporary"}
    for name in others:
        (tmp_path / name).write_text("years of work")
    with pytest.raises(TrainingError, match="does not hold a run"):
        prepare_folder(tmp_path, overwrite=True)
    assert set(os.listdir(tmp_path)) == others | {"metrics.csv", "checkpoint"}
    (tmp_path / "config.json").touch()
    prepare_folder(tmp_path, overwrite=True)
    assert set(os.listdir(tmp_path)) == others


def test_a_folder_may_be_a_link(tmp_path: Path) -> None:
    make_run(tmp_path / "run")
    (tmp_path / "link").symlink_to("run")
    prepare_folder(tmp_path / "link", overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert os.listdir(tmp_path / "run") == []


def test_what_the_system_refuses_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(30, "Read-only file system")

    make_run(tmp_path)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(WriteError, match=r"cannot write .*: Read-only file system"):
        prepare_folder(tmp_path, overwrite=True)


def test_what_is_said_after_an_interruption_can_be_pasted(tmp_path: Path) -> None:
    out = tmp_path / "my run"
    assert interrupted(out) == "interrupted; nothing was written"
    make_run(out, {"config.json"})
    assert interrupted(out).endswith(f"begin anew with --out '{out}' --overwrite")
    make_run(out, {"checkpoint"})
    assert interrupted(out).endswith(f"proxconnect train --resume '{out}'")
    assert interrupted(out, "mine:pair").endswith(f"proxconnect train --resume '{out}' --pair mine:pair")
