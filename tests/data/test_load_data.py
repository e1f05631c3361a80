from __future__ import annotations

from pathlib import Path

import pytest
from looking import every

from proxconnect.data import load_data, load_split
from proxconnect.errors import DataError


@pytest.mark.parametrize(("name", "near"), [("digit", "digits"), ("cifar-10", "cifar10"), ("CIFAR10", "")])
def test_unknown_name_names_the_known_ones(name: str, near: str) -> None:
    with pytest.raises(DataError, match=f"unknown data set '{name}'.*{near}.*no folder"):
        load_data(name)


def test_folder_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no folder .*absent"):
        load_data(tmp_path / "absent")


def test_folder_that_cannot_be_looked_at_is_refused() -> None:
    with pytest.raises(DataError, match=r"cannot read .*too long"):
        load_data("x" * 5000)


def test_empty_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError) as refused:
        load_data(tmp_path)
    expected = ["train.parquet", "train-00000-of-0000N.parquet", "plain_text", "train/<class>/<image>"]
    assert every(words in str(refused.value) for words in expected)
    with pytest.raises(DataError, match=r"no test images: looked for test.parquet"):
        load_split(tmp_path, "test")


def test_file_in_place_of_its_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    path.touch()
    with pytest.raises(DataError, match="is a file; pass the folder"):
        load_data(path)


def test_unknown_split_names_the_known_ones() -> None:
    with pytest.raises(DataError, match="unknown split 'tset'; did you mean 'test'"):
        load_split("digits", "tset")


def test_train_and_val_are_those_of_load_data() -> None:
    data = load_data("digits")
    assert len(load_split("digits", "train")) == len(data.train)
    assert len(load_split("digits", "val")) == len(data.val)
