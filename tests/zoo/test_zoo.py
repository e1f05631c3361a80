"""The models that ship: their cards hold, their files open, and the commands take their names."""

from __future__ import annotations

import json
import re
import runpy
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

import proxconnect as pc
from proxconnect.cli.app import run
from proxconnect.data import load_data, preprocessing
from proxconnect.errors import FormatError
from proxconnect.zoo import _shelf

TOOL = Path(__file__).parents[2] / "tools" / "zoo_entry.py"


@pytest.mark.parametrize("name", pc.zoo.list())
def test_cards_say_what_the_files_hold(name: str) -> None:
    card = pc.zoo.card(name)
    assert "cifar10" in name
    assert card.data == "CIFAR-10 (JPEG copy)"
    assert 0.5 < card.accuracy < 1
    assert card.images == 5000
    for commit in (card.commit, card.evaluated["commit"]):
        assert re.fullmatch("[0-9a-f]{40}", commit)
    path = Path(_shelf.__file__).parent / f"{name}.safetensors"
    assert path.stat().st_size == card.bytes
    header = pc.inspect(path).header
    assert header.method == card.method
    network = pc.zoo.load(name)
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    assert network.preprocessing is not None
    assert network.classes is not None
    assert pc.zoo.load(name, kernels="reference")(torch.zeros(1, 3, 32, 32)).shape == (1, 10)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a zoo with one model of handwritten digits, by the tool, from the folder of a run."""
    folder, zoo = tmp_path_factory.mktemp("run"), tmp_path_factory.mktemp("zoo")
    data = load_data("digits")
    model = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10)
    )
    pc.save(
        pc.binarize_(model, pc.BinarizeConfig("bc"), filter_fn=lambda module, name: name == "1"),
        folder / "model.safetensors",
        torch.zeros(2, 1, 8, 8),
        classes=list(data.classes),
        preprocessing=preprocessing(data),
    )
    result = {
        "config": {"model": "perceptron", "setting": "bw", "method": "bc"},
        "packed": {"accuracy": 0.25},
        "origin": {"commit": "0" * 40},
    }
    (folder / "result.json").write_text(json.dumps(result))
    tool = runpy.run_path(str(TOOL))["entry"]
    given = {"data": "digits", "data_name": "Digits", "protocol": "None.", "recipe": "none", "zoo": zoo}
    given |= {"commit": None, "measured": {"commit": "1" * 40}}
    card = tool("perceptron-digits", folder, **given)
    assert card.commit == "0" * 40
    assert card.evaluated == {"commit": "1" * 40}
    for changed, words in (
        ({"commit": "2" * 40 + "-dirty"}, "the run was trained with changes that no commit holds"),
        ({"measured": {"commit": "1" * 40 + "-dirty"}}, "this tool runs with changes that no commit holds"),
        ({"measured": {"commit": None}}, "the commit of this code is unknown"),
    ):
        with pytest.raises(pc.ProxConnectError, match=words):
            tool("other", folder, **{**given, **changed})
    (folder / "result.json").write_text(json.dumps({**result, "origin": None}))
    with pytest.raises(pc.ProxConnectError, match="did not record its commit; pass --commit"):
        tool("other", folder, **given)
    assert not list(zoo.glob("other*"))
    return zoo


@pytest.fixture
def shelf(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy that zoo, and put it in place of the one that ships."""
    monkeypatch.setattr(_shelf, "_SHELF", shutil.copytree(made, tmp_path / "zoo"))
    return tmp_path / "zoo"


def test_evaluation_gives_the_accuracy_of_the_card(shelf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["eval", "--zoo", "perceptron-digits", "--data", "digits", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["accuracy"] == result["card_accuracy"] == pc.zoo.card("perceptron-digits").accuracy
    assert result["zoo"] == "perceptron-digits"
    assert run(["eval", "--zoo", "perceptron-digits", "--data", "digits"]) == 0
    assert f"says {result['accuracy']:.4f} on the test split" in capsys.readouterr().out


def test_prediction_takes_images_alone(
    shelf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = tmp_path / "image.png"
    Image.new("L", (20, 20), 128).save(image)
    assert run(["predict", "--zoo", "perceptron-digits", str(image), str(image), "--json"]) == 0
    answers = json.loads(capsys.readouterr().out)
    assert [answer["image"] for answer in answers] == [str(image)] * 2
    file = shelf / "perceptron-digits.safetensors"
    assert run(["predict", str(file), str(image), str(image), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == answers


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["eval", "--zoo", "perceptron-digit", "--data", "digits"],
            "unknown model of the zoo 'perceptron-digit'; did",
        ),
        (["eval", "--data", "digits"], "give either a packed file or --zoo NAME (one of perceptron-digits)"),
        (
            ["eval", "file", "--zoo", "perceptron-digits", "--data", "digits"],
            "give either a packed file or --zoo",
        ),
        (["predict", "file"], "no image to classify; give image files or a folder behind file"),
    ],
)
def test_commands_refuse(
    arguments: list[str], words: str, shelf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    assert words in capsys.readouterr().err


def test_damaged_entries_are_refused(shelf: Path) -> None:
    path = shelf / "perceptron-digits.json"
    card = pc.zoo.card("perceptron-digits")
    assert replace(card).to_json() == path.read_text()
    path.write_text("{}")
    with pytest.raises(FormatError, match="is not a card of the zoo"):
        pc.zoo.card("perceptron-digits")
    shutil.copy(path, shelf / "perceptron-digits.safetensors")
    with pytest.raises(FormatError):
        pc.zoo.load("perceptron-digits")
