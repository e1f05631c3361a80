"""Data sets of the package ``datasets``: objects, saved folders, and names."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from proxconnect.cli.app import run
from proxconnect.data import load_data, load_split, without_splits
from proxconnect.errors import DataError, MissingPackageError

datasets = pytest.importorskip("datasets", reason="datasets is not installed")

Make = Callable[..., Any]
NAMES = ["ant", "bee", "cat"]
LABELS = [2, 0, 1, 0, 2, 1, 1, 0, 2, 0]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what datasets prepares out of the user's cache, and its bars off the terminal."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hugging-face")
    datasets.disable_progress_bars()


@pytest.fixture
def pixels(random_pixels: Make) -> np.ndarray:
    made: np.ndarray = random_pixels(10)
    return made


def dataset(pixels: np.ndarray, labels: list[int | None], image: str = "photo", label: str = "kind") -> Any:
    features = datasets.Features(
        {"id": datasets.Value("int64"), label: datasets.ClassLabel(names=NAMES), image: datasets.Image()}
    )
    images = [Image.fromarray(one) for one in pixels]
    rows = {"id": list(range(len(labels))), label: labels, image: images}
    return datasets.Dataset.from_dict(rows, features=features)


def test_columns_are_found_by_type_and_class_names_are_kept(pixels: np.ndarray) -> None:
    data = load_data(dataset(pixels, LABELS))
    assert (data.name, data.classes) == ("dataset", tuple(NAMES))
    expected = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    assert torch.equal(data.train.images, expected[:9])
    assert torch.equal(data.val.images, expected[9:])
    assert data.train.labels.tolist() == LABELS[:9]


def test_rows_that_were_shuffled_or_selected_keep_their_labels(pixels: np.ndarray) -> None:
    order = [3, 1, 4, 0, 5, 9]
    data = load_data(dataset(pixels, LABELS).select(order))
    assert data.train.labels.tolist() == [LABELS[row] for row in order[:5]]
    assert torch.equal(data.train.images[2], torch.from_numpy(pixels[4]).permute(2, 0, 1))


@pytest.mark.parametrize("name", ["validation", "val", "valid"])
def test_splits_are_train_validation_and_test(name: str, pixels: np.ndarray) -> None:
    parts = {"train": (0, 5), name: (5, 8), "test": (8, 10)}
    rows = dataset(pixels, LABELS)
    data = datasets.DatasetDict({part: rows.select(range(*ends)) for part, ends in parts.items()})
    assert load_data(data).val.labels.tolist() == LABELS[5:8]
    assert len(load_data(data).train) == 5
    assert load_split(data, "test").labels.tolist() == LABELS[8:]
    other = load_split(data, "test", classes=["cat", "ant", "bee"])
    assert [["cat", "ant", "bee"][label] for label in other.labels] == [NAMES[label] for label in LABELS[8:]]


def test_folders_that_were_saved_are_data(
    pixels: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = dataset(pixels, LABELS)
    rows.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": rows, "test": rows.select([0, 1])}).save_to_disk(tmp_path / "both")
    one, both = load_data(tmp_path / "one"), load_data(tmp_path / "both")
    assert (one.name, both.name) == ("one", "both")
    assert one.fingerprint == both.fingerprint == load_data(rows).fingerprint
    assert not without_splits(str(tmp_path / "one"), "train")
    assert len(load_split(tmp_path / "both", "test")) == 2
    out = tmp_path / "run"
    command = ["train", "--model", "resnet8", "--data", str(tmp_path / "both"), "--epochs", "1"]
    assert run([*command, "--out", str(out)]) == 0
    capsys.readouterr()
    assert run(["eval", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 2


def test_a_name_is_loaded_as_datasets_does(pixels: np.ndarray, tmp_path: Path) -> None:
    folder = tmp_path / "animals"
    rows = dataset(pixels, LABELS)
    folder.mkdir()
    rows.to_parquet(folder / "train.parquet")
    rows.select([0, 1, 2]).to_parquet(folder / "test.parquet")
    data = load_data(f"hf:{folder}")
    assert (data.name, data.classes, len(data.train)) == ("animals", tuple(NAMES), 9)
    assert len(load_split(f"hf:{folder}", "test")) == 3
    assert not without_splits(f"hf:{folder}", "train")


def test_files_that_a_data_set_names_are_read(pixels: np.ndarray, tmp_path: Path) -> None:
    paths = [str(tmp_path / f"{row}.png") for row in range(10)]
    for path, one in zip(paths, pixels, strict=True):
        Image.fromarray(one).save(path)
    rows = datasets.Dataset.from_dict({"image": paths, "label": [0, 1] * 5})
    data = load_data(rows.cast_column("image", datasets.Image()))
    assert torch.equal(data.train.images, torch.from_numpy(pixels[:9]).permute(0, 3, 1, 2))
    assert data.classes == ("0", "1")


def test_code_of_a_data_set_never_runs(tmp_path: Path) -> None:
    folder = tmp_path / "evil"
    folder.mkdir()
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(DataError, match="scripts are no longer supported"):
        load_data(f"hf:{folder}")
    assert not (tmp_path / "ran").exists()


def without(rows: Any, *names: str) -> Any:
    return rows.remove_columns(list(names))


def with_more_images(rows: Any) -> Any:
    more = without(rows, "id", "kind").rename_column("photo", "more")
    return datasets.concatenate_datasets([rows, more], axis=1)


REFUSALS: dict[str, tuple[Callable[[Any, Path], Any], str]] = {
    "no images": (lambda rows, _: without(rows, "photo"), r"columns id \(Value\), kind \(ClassLabel\); exp"),
    "no labels": (lambda rows, _: without(rows, "kind"), "one of the type ClassLabel"),
    "two images": (lambda rows, _: with_more_images(rows), "several of which one is named image or img"),
    "no rows": (lambda rows, _: rows.select([]), "the split train of the Dataset has no rows"),
    "null label": (lambda rows, _: rows.map(lambda row: {"kind": None}), r"row 0 .* has no label"),
    "null image": (lambda rows, _: rows.map(lambda row: {"photo": None}), r"row 0 .* has no image \(null\)"),
    "no train": (
        lambda rows, _: datasets.DatasetDict(test=rows),
        "no train images: looked for train among the splits of the DatasetDict: test",
    ),
    "streaming": (lambda rows, _: rows.to_iterable_dataset(), "IterableDataset; expected a name, a folder"),
    "number": (lambda rows, _: 3, r"of type builtins\.int"),
    "no name": (lambda rows, _: "hf:", "names no data set; expected hf:OWNER/NAME"),
    "nowhere": (lambda rows, folder: f"hf:{folder / 'none'}", "cannot load hf:.*none"),
    "damaged": (lambda rows, folder: damaged(folder), "cannot read .*, which save_to_disk wrote: "),
}


def damaged(folder: Path) -> Path:
    (folder / "damaged").mkdir()
    (folder / "damaged" / "state.json").write_text("{")
    return folder / "damaged"


@pytest.mark.parametrize("case", REFUSALS)
def test_refuses(case: str, pixels: np.ndarray, tmp_path: Path) -> None:
    make, words = REFUSALS[case]
    with pytest.raises(DataError, match=words):
        load_data(make(dataset(pixels, LABELS), tmp_path))


def test_a_share_to_validate_on_is_for_folders(pixels: np.ndarray) -> None:
    with pytest.raises(DataError, match="leave it out"):
        load_data(dataset(pixels, LABELS), val_share=0.2)


def test_old_versions_that_run_code_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "__version__", "3.6.0")
    with pytest.raises(DataError, match=r"3\.6\.0 may run code of data sets"):
        load_data("hf:someone/something")


def test_a_missing_package_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingPackageError, match=r'pip install "proxconnect\[datasets\]"'):
        load_data("hf:someone/something")
    assert run(["train", "--data", "hf:someone/something", "--out", "nowhere"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
