"""Recipes: options in a TOML file, checked when read."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxconnect.errors import TrainingError
from proxconnect.trainer import TrainConfig, read_recipe


def recipe(folder: Path, text: str) -> Path:
    file = folder / "recipe.toml"
    file.write_text(text)
    return file


def test_keys_are_the_fields_of_the_configuration(tmp_path: Path) -> None:
    text = 'model = "resnet8"\ndata = "digits"\nlr = 1\nbinarize_all = true\nstages = "none:4,weights:6"'
    config = TrainConfig(**read_recipe(recipe(tmp_path, text))).resolved()
    assert (config.model, config.lr, config.binarize_all) == ("resnet8", 1, True)
    assert [stage.epochs for stage in config.stage_list] == [4, 6]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("epoch = 3", "unknown key 'epoch'; did you mean 'epochs'"),
        ('epochs = "ten"', "epochs is 'ten', of type str; expected int"),
        ("epochs = true", "epochs is True, of type bool; expected int"),
        ("epochs = 1.5", "epochs is 1.5, of type float; expected int"),
        ("model = 20", "model is 20, of type int; expected str"),
        ("[optimizer]\nlr = 1.0", "optimizer is .* of type dict; expected str"),
        ("epochs = ", "is not TOML"),
        ("# nothing but a remark", "has no options"),
    ],
)
def test_refuses(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=words):
        read_recipe(recipe(tmp_path, text))


def test_refuses_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"cannot read recipe .*absent.toml"):
        read_recipe(tmp_path / "absent.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TrainingError, match="is not TOML"):
        read_recipe(tmp_path / "binary.toml")


def test_best_ships_and_a_file_beats_it_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "best").write_text('method = "bc"')
    monkeypatch.chdir(tmp_path)
    config = TrainConfig(model="resnet8", data="digits", **read_recipe("best")).resolved()
    plain = TrainConfig(model="resnet8", data="digits", method="bnn++", recalibrate=True)
    assert config == plain.resolved()
    assert read_recipe("./best") == read_recipe(Path("best")) == {"method": "bc"}
    with pytest.raises(TrainingError, match=r"cannot read recipe bets: .* or one that ships: best"):
        read_recipe("bets")
