"""The tables of a run: whole at every moment, and continued where a checkpoint ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxconnect.base import files
from proxconnect.errors import TrainingError, WriteError
from proxconnect.trainer.epoch_table import EpochTable, read_epochs

COLUMNS = ("epoch", "weight", "train_loss", "mu")


def table(path: Path, epochs: range, done: int = 0) -> EpochTable:
    made = EpochTable(path, COLUMNS)
    made.begin(done)
    for epoch in epochs:
        made.add(epoch, [{"weight": name, "train_loss": epoch / 3, "other": 9.0} for name in ("a, b", "c")])
    return made


def test_the_file_has_the_columns_in_order_and_empty_cells(tmp_path: Path) -> None:
    table(tmp_path / "it.csv", range(1, 2))
    assert (tmp_path / "it.csv").read_bytes() == (
        b'epoch,weight,train_loss,mu\n1,"a, b",0.3333333,\n1,c,0.3333333,\n'
    )
    assert read_epochs(tmp_path / "it.csv") == [{"epoch": 1.0, "train_loss": 0.3333333}] * 2
    assert read_epochs(tmp_path / "absent.csv") == []


@pytest.mark.parametrize("written", [2, 3, 4], ids="{} epochs in the file".format)
def test_a_table_that_goes_on_equals_one_in_one_go(written: int, tmp_path: Path) -> None:
    table(tmp_path / "whole.csv", range(1, 6))
    table(tmp_path / "parts.csv", range(1, written + 1))
    table(tmp_path / "parts.csv", range(3, 6), done=2)
    assert (tmp_path / "parts.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_write_that_fails_leaves_the_epochs_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = table(tmp_path / "it.csv", range(1, 3))
    before = (tmp_path / "it.csv").read_bytes()

    def refuse(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", refuse)
    with pytest.raises(WriteError, match=r"cannot write .*it.csv: No space left on device"):
        made.add(3, [{"train_loss": 1.0}])
    assert (tmp_path / "it.csv").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["it.csv"]


@pytest.mark.parametrize(
    "content",
    [
        b"loss\n3\n",
        b"epoch,train_loss\none,3\n",
        b"epoch,train_loss\n1,low\n",
        b"epoch\n\xff\n",
        b'epoch\n"1\n',
    ],
    ids=repr,
)
def test_what_is_no_table_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "it.csv").write_bytes(content)
    with pytest.raises(TrainingError, match=r"it.csv is not the table of a run .*: remove it"):
        table(tmp_path / "it.csv", range(2, 3), done=1)
    with pytest.raises(TrainingError, match="is not the table of a run"):
        read_epochs(tmp_path / "it.csv")
