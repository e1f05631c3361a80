"""A run that starts from another takes its model, data and image size, and never validates on its images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from proxconnect.errors import TrainingError
from proxconnect.layers import binarized_weights
from proxconnect.trainer import Checkpoint, TrainConfig
from proxconnect.trainer.checkpoint import DataFacts, build_model
from proxconnect.trainer.start import inherit, initial_weights, read_start

FACTS = DataFacts(
    ("cat", "dog"), {"mode": "L", "size": [8, 8], "mean": [0.5], "std": [0.5], "resize": "bilinear"}, "print"
)


def start(tmp_path: Path, **values: object) -> Checkpoint:
    options = {"model": "resnet8", "data": str(tmp_path), "setting": "fp", "image_size": 8, "split": 0.2}
    config = TrainConfig(**{**options, **values}).resolved()
    return Checkpoint(Path("fp"), config, FACTS, 3, {}, {"weight": torch.zeros(1)})


def test_what_is_left_open_comes_from_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = start(tmp_path, nonlinearity="prelu")
    found = inherit(TrainConfig(init="fp", epochs=5), first)
    taken = (found.model, found.nonlinearity, found.data, found.image_size, found.split)
    assert taken == ("resnet8", "prelu", str(tmp_path), 8, 0.2)
    assert found.epochs == 5
    given = inherit(TrainConfig(model="resnet32", data="digits", image_size=9), first)
    assert (given.model, given.nonlinearity, given.data, given.image_size) == ("resnet32", None, "digits", 9)
    assert given.split is None
    monkeypatch.chdir(tmp_path)
    assert inherit(TrainConfig(data="."), first).split == 0.2  # the same data by another name
    # The default block of full precision does not fit binary activations.
    assert inherit(TrainConfig(setting="bwa"), first).nonlinearity is None


def test_images_that_the_start_was_trained_on_are_not_validated_on(tmp_path: Path) -> None:
    first = start(tmp_path)
    same = inherit(TrainConfig(init="fp"), first).resolved()
    assert initial_weights(first, same, FACTS) is first.weights
    with pytest.raises(TrainingError, match=r"with split 0.2, this run has split 0.3 and would validate"):
        initial_weights(first, replace(same, split=0.3), FACTS)
    other = replace(FACTS, fingerprint="other pictures")
    assert initial_weights(first, replace(same, split=0.3), other) is first.weights


def test_a_start_is_of_full_precision(finished_runs: Path) -> None:
    assert read_start(TrainConfig()) is None
    with pytest.raises(TrainingError, match=r"--init needs a full-precision checkpoint; .* has setting 'bw'"):
        read_start(TrainConfig(init=str(finished_runs / "bw")))


def test_layers_to_keep_stay_in_full_precision(tmp_path: Path) -> None:
    def binary(**values: object) -> set[str]:
        config = TrainConfig(model="resnet8", data="digits", **values).resolved()  # type: ignore[arg-type]
        return {found.name.removesuffix(".weight") for found in binarized_weights(build_model(config, FACTS))}

    usual = binary()
    assert binary(keep="blocks.0.conv1, blocks.2.conv2") == usual - {"blocks.0.conv1", "blocks.2.conv2"}
    assert binary(keep="conv", binarize_all=True) == binary(binarize_all=True) - {"conv"}
    assert binary(keep="conv") == usual  # it is kept anyway
    with pytest.raises(TrainingError, match=r"--keep: unknown layer 'blocks\.0\.conv9'; did you mean"):
        binary(keep="blocks.0.conv9")
    with pytest.raises(TrainingError, match="keep needs a setting that binarizes, not 'fp'"):
        binary(keep="conv", setting="fp")
