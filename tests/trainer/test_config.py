"""Configurations: defaults filled in, contradictions refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxconnect.errors import ProxConnectError, TrainingError
from proxconnect.trainer import TrainConfig


def config(**values: object) -> TrainConfig:
    return TrainConfig(**{"model": "resnet8", "data": "digits", **values})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, ("bnn++", "adam", 2e-3, 0.0)),
        ({"setting": "fp", "batch_size": 64}, ("fp", "sgd", 0.05, 5e-4)),
        ({"setting": "fp", "model": "vit-mini"}, ("fp", "adam", 2e-3, 0.0)),
        ({"method": "bc", "optimizer": "adamw", "lr": 0.5}, ("bc", "adamw", 0.5, 0.05)),
    ],
)
def test_defaults(values: dict[str, object], expected: tuple[object, ...]) -> None:
    resolved = config(**values).resolved()
    assert (resolved.method, resolved.optimizer, resolved.lr, resolved.weight_decay) == expected
    assert resolved.resolved() == resolved
    assert TrainConfig.from_dict(resolved.to_dict()) == resolved


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"model": None}, "needs --model"),
        ({"data": None}, "needs --data"),
        ({"model": "resnet200"}, "unknown model 'resnet200'; did you mean"),
        ({"method": "bnnn"}, "unknown method 'bnnn'; did you mean 'bnn'"),
        ({"setting": "bww"}, "unknown setting 'bww'; did you mean 'bw'"),
        ({"optimizer": "adan"}, "unknown optimizer 'adan'; did you mean 'adam'"),
        ({"scale": "rows"}, "unknown scale 'rows'"),
        ({"mu_schedule": "expo"}, "unknown mu schedule 'expo'"),
        ({"method": "bc", "setting": "fp"}, "method 'bc' does not fit setting 'fp'"),
        ({"method": "fp"}, "method 'fp' does not fit setting 'bw'"),
        ({"epochs": -1}, "epochs must be at least 0, not -1"),
        ({"epochs": 0}, "0 epochs quantize a trained network"),
        ({"lr": float("nan")}, "lr must be a positive number, not nan"),
        ({"weight_decay": -1.0}, "weight_decay must be at least 0"),
        ({"mu_end": 0.0}, "mu_end must be a positive number"),
        ({"mu_fraction": 1.5}, "mu_fraction is a share of the steps"),
        ({"mu_start": 0.0}, "mu_start must be a positive number for schedule 'late', not 0"),
        ({"rule": "pcc"}, "unknown rule 'pcc'; did you mean 'pc'"),
        (
            {"method": "pq"},
            "'pq' is a step rule, not a method: choose it with --rule pq .*'bc'",
        ),
        ({"method": "rpc", "rule": "rpc"}, "'rpc' is a step rule, not a method: choose it with --rule rpc"),
        (
            {"method": "bnn++", "rule": "rpc"},
            "rule 'rpc' takes .*, not 'bnn\\+\\+'; methods that fit: bc, pc",
        ),
        ({"levels": "-1,0,x"}, "levels are numbers separated by commas, such as -1,0,1, not '-1,0,x'"),
        ({"levels": "-1,0,1"}, "method 'bnn\\+\\+' has the levels .* alone"),
        ({"accumulator_bits": 8}, "is setting 'bw'|needs sums of -1 and \\+1"),
        ({"setting": "bwa", "activations": "bnnn"}, "unknown method 'bnnn'; did you mean 'bnn'"),
        ({"setting": "bwa", "nonlinearity": "relu"}, "behind nonlinearity 'relu' every binary activation is"),
        ({"setting": "bwa", "overflow_penalty": 0.1}, "overflow_penalty needs setting 'bwaa', not 'bwa'"),
        (
            {"setting": "bwaa", "overflow_penalty": 0.1, "compile": True},
            "overflow_penalty looks into layers that",
        ),
        ({"setting": "fp", "activations": "bnn"}, "activations needs setting 'bwa' or 'bwaa', not 'fp'"),
        ({"model": "vit-mini", "block": "bireal"}, "model 'vit-mini' has no block to choose"),
    ],
)
def test_refuses(values: dict[str, object], words: str) -> None:
    with pytest.raises(ProxConnectError, match=words):
        config(**values).resolved()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, ("pc", "late", 1, 300, "basic", "relu")),
        ({"rule": "pq"}, ("pq", "linear", 0, 10, "basic", "relu")),
        ({"method": "reste"}, ("pc", "reste", 1, 3, "basic", "relu")),
        ({"method": "bnn", "mu_end": 9.0}, ("pc", "late", 1, 9.0, "basic", "relu")),
        ({"method": "bc", "rule": "fp"}, ("fp", "constant", 1, 300, "basic", "relu")),
        ({"setting": "bwa"}, ("pc", "late", 1, 300, "bireal", "rprelu")),
        ({"setting": "bwa", "block": "basic"}, ("pc", "late", 1, 300, "basic", "rprelu")),
        ({"setting": "bwaa", "model": "vit-mini"}, ("pc", "late", 1, 300, None, None)),
    ],
)
def test_defaults_that_suit_method_and_setting(
    values: dict[str, object], expected: tuple[object, ...]
) -> None:
    got = config(**values).resolved()
    assert (got.rule, got.mu_schedule, got.mu_start, got.mu_end, got.block, got.nonlinearity) == expected
    assert got.resolved() == got


def test_binarize_says_what_the_options_say() -> None:
    asked = config(method="pc", levels="-1,0,1", scale="32", learn_scale=True).resolved().binarize
    assert asked is not None
    assert (asked.levels, asked.scale, asked.learn_scale, asked.setting) == ((-1, 0, 1), 32, True, "bw")
    narrow = config(setting="bwaa", accumulator_bits=6, overflow="saturate").resolved().binarize
    assert narrow is not None
    assert (narrow.accumulator_bits, narrow.overflow, narrow.setting) == (6, "saturate", "bwaa")


def test_from_dict_refuses_other_keys() -> None:
    values = config().to_dict()
    values["optimiser"] = values.pop("optimizer")
    with pytest.raises(
        TrainingError, match="configuration: unknown key 'optimiser'; did you mean 'optimizer'"
    ):
        TrainConfig.from_dict(values)


def test_from_dict_takes_configurations_of_older_releases() -> None:
    values = config().to_dict()
    del values["pair"], values["latent_lr"]
    assert TrainConfig.from_dict(values) == config()


def own_pair_file(folder: Path) -> None:
    (folder / "my_pairs.py").write_text(
        "import torch\n"
        "import proxconnect as pc\n"
        "soft = pc.ForwardBackward(lambda w, mu: torch.tanh(mu * w), name='soft')\n"
        "number = 3\n"
    )


def test_a_pair_of_ones_own_replaces_the_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_pair_file(tmp_path)
    monkeypatch.chdir(tmp_path)
    resolved = config(pair="my_pairs:soft").resolved()
    assert resolved.method == "soft"
    assert resolved.resolved() == resolved
    assert resolved.binarize is not None
    assert resolved.binarize.pair.name == "soft"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"pair": "my_pairs"}, "is given as module:object, not 'my_pairs'"),
        ({"pair": "absent_pairs:soft"}, "cannot import 'absent_pairs'"),
        ({"pair": "my_pairs:hard"}, "defines no 'hard'"),
        ({"pair": "my_pairs:number"}, "is a int, expected a proxconnect.ForwardBackward"),
        ({"pair": "my_pairs:soft", "method": "bc"}, "give either method"),
    ],
)
def test_refuses_pairs_that_are_none(
    values: dict[str, object], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_pair_file(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ProxConnectError, match=words):
        config(**values).resolved()
