"""Sensitivity: each layer binarized alone, on copies."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path

import pytest
import torch
from looking import every, same_tensors
from torch import nn

import proxconnect as pc
from proxconnect.errors import ProxConnectError
from proxconnect.trainer import sensitivity


def model_and_inputs() -> tuple[nn.Sequential, torch.Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4))
    return model.train(), torch.randn(64, 6)


def test_each_layer_is_binarized_alone_and_the_model_stays() -> None:
    model, _ = model_and_inputs()
    before = copy.deepcopy(model.state_dict())
    seen = []

    def evaluate(trial: nn.Module) -> float:
        assert not trial.training
        seen.append([len(trial[i].weight.abs().unique()) <= 16 for i in (0, 3)])
        return 0.5 + 0.25 * seen[-1][0]

    table = sensitivity(model, evaluate, recalibrate=False)
    assert seen == [[False, False], [True, False], [False, True]]
    assert table.baseline == 0.5
    assert [(each.name, each.accuracy, each.lost) for each in table.layers] == [
        ("3", 0.5, 0),
        ("0", 0.75, -0.25),
    ]
    assert model.training
    assert same_tensors(before, model.state_dict())


def test_the_trial_is_what_binarize_and_harden_make() -> None:
    model, inputs = model_and_inputs()
    outputs = []
    table = sensitivity(
        model, lambda trial: outputs.append(trial(inputs)) or 0.0, scale="tensor", recalibrate=False
    )
    expected = pc.binarize_(
        copy.deepcopy(model).eval(), pc.BinarizeConfig("bc", scale="tensor"), lambda module, name: name == "3"
    )
    assert torch.equal(outputs[2], pc.harden_(expected)(inputs))
    assert [layer.weights for layer in table.layers] == [96, 64]


def test_recalibration_settles_batchnorm() -> None:
    model, inputs = model_and_inputs()
    means = []
    table = sensitivity(model, lambda trial: means.append(trial[1].running_mean) or 0.0, recalibrate=[inputs])
    assert torch.equal(means[0], torch.zeros(16))
    assert not torch.equal(means[1], means[0])
    assert table.calibration_images == 64
    assert "BatchNorm settled on 64 images for each layer" in str(table)


def test_stale_statistics_of_batchnorm_are_pointed_out() -> None:
    model, _ = model_and_inputs()
    with pytest.warns(UserWarning, match="pass recalibrate=batches"):
        assert "BatchNorm not settled" in str(sensitivity(model, lambda trial: 0.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sensitivity(model, lambda trial: 0.0, recalibrate=False)
        sensitivity(model[3], lambda trial: 0.0)


def test_the_layers_that_stand_out_are_to_be_kept() -> None:
    lost = {"0": 0.5, "1": 0.01, "2": 0.09, "3": 0.03, "4": 0.0, "5": 0.02}
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in lost))
    order = iter([0.0, *lost.values()])
    table = sensitivity(model, lambda trial: 0.9 - next(order))
    assert [layer.name for layer in table.layers] == ["0", "2", "3", "5", "1", "4"]
    assert (table.ends, table.keep) == (("0", "5"), ("2",))  # 0 is kept anyway, 3 is near the middle
    assert str(table).splitlines()[-1] == (
        "keep in full precision: the first and the last layer (0, 5), as by default, and 2 (16.7% of the "
        "weights): proxconnect train --keep 2"
    )
    calm = sensitivity(model, lambda trial: 0.9)
    assert calm.keep == ()
    assert str(calm).splitlines()[-1].endswith("as by default; no other layer stands out")


def test_table_dictionary_and_plot(tmp_path: Path) -> None:
    model, _ = model_and_inputs()
    accuracies = iter([0.9, 0.8, 0.6])
    table = sensitivity(model, lambda trial: next(accuracies), recalibrate=False)
    assert table.to_dict()["layers"][0] == {
        "name": "3", "kind": "Linear", "weights": 64, "accuracy": 0.6, "lost": pytest.approx(0.3)
    }  # fmt: skip
    text = str(table)
    assert every(word in text for word in ("layer", "lost", "30.00%", "90.00%"))
    table.plot(tmp_path / "table.png")
    assert (tmp_path / "table.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ProxConnectError, match="unknown ending"):
        table.plot(tmp_path / "table.xyz")


def test_refuses() -> None:
    model, _ = model_and_inputs()
    with pytest.raises(ProxConnectError, match="this one has none"):
        sensitivity(nn.ReLU(), lambda trial: 1.0)
    config = pc.BinarizeConfig("bc")
    binary = pc.binarize_(model, config, lambda module, name: name == "0")
    for refused in (binary, pc.harden_(copy.deepcopy(binary))):
        with pytest.raises(ProxConnectError, match="binarized already"):
            sensitivity(refused, lambda trial: 1.0)
