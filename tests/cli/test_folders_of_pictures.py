"""The way from a folder of pictures by class to answers about more pictures, and what can go wrong on it."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from refusing import error_of

from proxconnect.cli.app import run
from proxconnect.data import load_split

CLASSES = ("one", "two", "zero")
SHORT = ["--limit-train-batches", "1", "--epochs", "1"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder of 10 pictures of each class, and a run in full precision and a binary one on it."""
    folder = tmp_path_factory.mktemp("place")
    scans = load_split("digits", "train")
    for label, name in enumerate(("zero", "one", "two")):
        (folder / "pictures" / name).mkdir(parents=True)
        for index, scan in enumerate(scans.images[scans.labels == label][:10, 0].numpy()):
            Image.fromarray(scan).save(folder / "pictures" / name / f"{index}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROXCONNECT_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        data = ["--data", "pictures", "--split", "0.2", "--image-size", "12"]
        assert run(["train", "--model", "resnet8", *data, "--setting", "fp", *SHORT, "--out", "fp"]) == 0
        assert run(["train", "--init", "fp", *SHORT, "--out", "bw"]) == 0
    return folder


@pytest.fixture(autouse=True)
def there(place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PROXCONNECT_CACHE", str(place / "cache"))
    monkeypatch.chdir(tmp_path)  # runs and data are found from any folder


def test_a_run_that_starts_from_another_is_on_its_data(place: Path) -> None:
    config = json.loads((place / "bw" / "config.json").read_text())
    taken = (config["model"], config["data"], config["split"], config["image_size"], config["setting"])
    assert taken == ("resnet8", str(place / "pictures"), 0.2, 12, "bw")
    assert config["batch_size"] == 8
    assert json.loads((place / "bw" / "result.json").read_text())["packed"]["images"] == 6


def test_eval_of_a_run_measures_the_pictures_that_were_held_out(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = json.loads((place / "bw" / "result.json").read_text())["packed"]
    table, picture = Path("table.csv"), Path("picture.png")
    files = ["--confusion", str(table), "--confusion", str(picture)]
    assert run(["eval", str(place / "bw"), *files, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["split"], result["images"], result["accuracy"]) == ("val", 6, packed["accuracy"])
    assert tuple(result["accuracy_by_class"]) == CLASSES
    assert sum(result["accuracy_by_class"].values()) / 3 == pytest.approx(result["accuracy"])  # 2 of each
    header, *rows = csv.reader(table.read_text().splitlines())
    assert header == ["true class", *CLASSES]
    assert [row[0] for row in rows] == list(CLASSES)
    counts = [[int(number) for number in row[1:]] for row in rows]
    assert [sum(row) for row in counts] == [2, 2, 2]
    assert [row[place] / 2 for place, row in enumerate(counts)] == list(result["accuracy_by_class"].values())
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_eval_says_whether_training_saw_the_images(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own, other = place / "bw" / "model.safetensors", Path("other.safetensors")
    shutil.copy(own, other)
    data = ["--data", str(place / "pictures")]
    for arguments, images, words in (
        ([str(place / "bw")], 6, "these images are held out"),
        ([str(place / "bw"), "--split", "train"], 24, "the network was trained on these images"),
        ([str(own), *data], 30, "the network was trained on 80% of them"),
        ([str(other), *data], 30, "if the network was trained on this folder"),
    ):
        assert run(["eval", *arguments]) == 0
        said = capsys.readouterr().out
        assert f"{images} images" in said
        assert words in said


def test_eval_compares_classes_by_name(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(place / "bw" / "model.safetensors")
    Path("some").mkdir()
    for name in ("two", "zero"):
        shutil.copytree(place / "pictures" / name, Path("some", name))
    accuracies = []
    for data in (str(place / "pictures"), "some"):
        assert run(["eval", model, "--data", data, "--json"]) == 0
        result = json.loads(capsys.readouterr().out)
        accuracies.append(result["accuracy_by_class"])
    assert result["images"] == 20  # without test/, all
    assert accuracies[1] == {**accuracies[0], "one": None}
    Path("some", "two").rename("some/three")
    assert run(["eval", model, "--data", "some"]) == 2
    assert "images of the class 'three', which the network does not know" in capsys.readouterr().err


def test_predict_takes_a_run_and_folders(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = place / "pictures" / "zero" / "0.png"
    Path("mixed").mkdir()
    Path("mixed", "notes.txt").write_text("no picture")
    for name in ("b.png", "a.PNG"):
        shutil.copy(first, Path("mixed", name))
    answers = []
    for network in (place / "bw", place / "bw" / "model.safetensors"):
        assert run(["predict", str(network), "mixed", str(first), "--json"]) == 0
        answers.append(json.loads(capsys.readouterr().out))
    assert answers[0] == answers[1]
    assert [answer["image"] for answer in answers[0]] == ["mixed/a.PNG", "mixed/b.png", str(first)]
    assert run(["predict", str(place / "bw"), str(place / "pictures")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 30
    assert lines[0].startswith(f"{place / 'pictures' / 'one' / '0.png'}: ")


REFUSALS = {
    "no split": (
        ["train", "--model", "resnet8", "--data", "{pictures}", "--out", "new"],
        "pass --split 0.2",
    ),
    "split too large": (
        ["train", "--model", "resnet8", "--data", "{pictures}", "--split", "20", "--out", "new"],
        "expected a share between 0 and 1",
    ),
    "split of digits": (
        ["train", "--model", "resnet8", "--data", "digits", "--split", "0.2", "--out", "new"],
        "set apart already",
    ),
    "split with train": (
        ["train", "--model", "resnet8", "--data", "{divided}", "--split", "0.2", "--out", "new"],
        "set apart already",
    ),
    "one picture": (
        ["train", "--model", "resnet8", "--data", "{lonely}", "--split", "0.2", "--out", "new"],
        "the class 'two' has one picture",
    ),
    "no pictures": (
        ["train", "--model", "resnet8", "--data", "{empty}", "--split", "0.2", "--out", "new"],
        "no train images: looked for",
    ),
    "other split": (
        ["train", "--init", "{place}/fp", "--split", "0.5", "--out", "new"],
        "this run has split 0.5",
    ),
    "unknown layer": (
        ["train", "--init", "{place}/fp", "--keep", "blocks.9.conv1", "--out", "new"],
        "--keep: unknown layer 'blocks.9.conv1'",
    ),
    "nothing to start from": (["train", "--init", "{empty}", "--out", "new"], "no checkpoint at"),
    "resume and split": (["train", "--resume", "{place}/bw", "--split", "0.5"], "split was 0.2, now 0.5"),
    "resume and overwrite": (
        ["train", "--resume", "{place}/bw", "--overwrite"],
        "leave it out with --resume",
    ),
    "resume and out": (["train", "--resume", "{place}/bw", "--out", "new"], "give either --out"),
    "fewer epochs": (["train", "--resume", "{place}/bw", "--epochs", "0"], "would shorten it"),
    "resume of nothing": (["train", "--resume", "{begun}"], "no epoch of the run in {begun} was completed"),
    "eval without data": (["eval", "{place}/bw/model.safetensors"], "eval needs --data FOLDER"),
    "eval of an unfinished run": (
        ["eval", "{unfinished}"],
        "finish it with 'proxconnect train --resume {unfinished}'",
    ),
    "predict of an unfinished run": (
        ["predict", "{unfinished}", "{pictures}"],
        "has no model.safetensors yet",
    ),
    "eval of a folder": (["eval", "{pictures}"], "is a folder without model.safetensors"),
    "confusion": (["eval", "{place}/bw", "--confusion", "it.xyz"], "unknown ending, expected"),
    "confusion nowhere": (["eval", "{place}/bw", "--confusion", "no/it.csv"], "there is no folder"),
    "predict of no pictures": (
        ["predict", "{place}/bw", "{empty}"],
        "no pictures in {empty}; expected files",
    ),
    "predict of a broken picture": (["predict", "{place}/bw", "{broken}"], "cannot decode {broken}/b.png"),
}


@pytest.fixture(scope="module")
def places(place: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Make the folders that are refused; return their names and those of the good ones."""
    other = tmp_path_factory.mktemp("other")
    names = ("divided", "lonely", "empty", "begun", "unfinished", "broken")
    places = {name: str(other / name) for name in names}
    shutil.copytree(place / "pictures", other / "divided" / "train")
    shutil.copytree(place / "pictures", other / "lonely")
    for path in (other / "lonely" / "two").glob("[1-9].png"):
        path.unlink()
    for name in ("empty", "begun", "unfinished", "broken"):
        (other / name).mkdir()
    shutil.copy(place / "bw" / "config.json", other / "begun")
    for name in ("config.json", "checkpoint"):
        shutil.copy(place / "bw" / name, other / "unfinished")
    (other / "broken" / "b.png").write_bytes(b"\x89PNG but not really")
    return places | {"place": str(place), "pictures": str(place / "pictures")}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals_are_one_line_and_status_two(
    case: str, places: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, words = REFUSALS[case]
    assert words.format(**places) in error_of([argument.format(**places) for argument in arguments], capsys)
    assert list(Path.cwd().iterdir()) == []


def test_a_finished_run_says_so_and_stays_as_it_is(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [place / "bw" / name for name in ("checkpoint", "model.safetensors", "result.json")]
    before = [file.stat().st_mtime_ns for file in files]
    assert run(["train", "--resume", str(place / "bw")]) == 0
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first == (
        f"the run in {place / 'bw'} is finished: 1 of 1 epochs are done; to train it further: "
        f"proxconnect train --resume {place / 'bw'} --epochs 2"
    )
    assert second.startswith("validation accuracy: trained ")
    assert [file.stat().st_mtime_ns for file in files] == before
