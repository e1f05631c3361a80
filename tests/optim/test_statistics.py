"""Statistics of binarized layers, against their definitions and in a run's logs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from looking import every
from torch import nn

import proxconnect as pc
from proxconnect.layers import binarized_weights, latent_weight
from proxconnect.trainer import (
    Stage,
    TrainConfig,
    latent_histogram,
    layer_statistics,
    train,
    weight_gradients,
)
from proxconnect.trainer.epoch_table import HISTOGRAM_COLUMNS, read_epochs


def layer(method: str, latents: list[float], mu: float = 1.0) -> nn.Linear:
    plain = nn.Linear(len(latents), 1, bias=False)
    config = pc.BinarizeConfig(method, scale=None)
    binary = pc.binarize_(plain, config, lambda module, name: True)
    latent_weight(binary).data.copy_(torch.tensor([latents]))
    for found in binarized_weights(binary):
        found.quantizer.mu.fill_(mu)
    return binary


def test_gradient_killed_is_the_share_of_the_gradient_where_b_is_zero() -> None:
    model = layer("bnn", [0.5, 2.0, -0.1, -3.0])
    with weight_gradients(model) as gradients:
        model(torch.tensor([[1.0, 2.0, 3.0, 4.0]])).sum().backward()
    assert torch.equal(gradients["weight"], torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
    assert layer_statistics(model, gradients)["weight"]["gradient_killed"] == pytest.approx(6 / 10)


@pytest.mark.parametrize(("method", "killed"), [("bc", 0.0), ("bnn++", 0.5), ("bnn", 1.0)])
def test_gradient_killed_tells_methods_apart(method: str, killed: float) -> None:
    latents = [2.0, -2.0] if method == "bnn" else [0.01, 2.0]
    model = layer(method, latents, mu=60.0 if method == "bnn++" else 1.0)
    with weight_gradients(model) as gradients:
        model(torch.ones(1, 2)).sum().backward()
    assert layer_statistics(model, gradients)["weight"]["gradient_killed"] == pytest.approx(killed)


@pytest.mark.parametrize("setting", ["bw", "bwa", "bwaa"])
def test_gradients_of_weights_are_seen_in_every_setting(setting: str) -> None:
    config = pc.BinarizeConfig.from_setting(setting, method="bc")
    model = pc.binarize_(nn.Linear(3, 1, bias=False), config, lambda module, name: True)
    x = torch.tensor([[1.0, -1.0, 1.0]])
    with weight_gradients(model) as gradients:
        model(x).sum().backward()
    torch.testing.assert_close(gradients["weight"], x)


def test_gradients_of_several_passes_add_up_and_no_hook_stays() -> None:
    model = layer("bc", [0.5, -0.5])
    with weight_gradients(model) as gradients:
        for _ in range(2):
            model(torch.ones(1, 2)).sum().backward()
    assert torch.equal(gradients["weight"], torch.full((1, 2), 2.0))
    model(torch.ones(1, 2)).sum().backward()
    assert torch.equal(gradients["weight"], torch.full((1, 2), 2.0))


def test_level_distance_is_that_of_the_forward_quantizer() -> None:
    model = layer("ede+", [0.2, -0.3])
    expected = (1 - model.weight.abs()).abs().mean().item()
    assert layer_statistics(model)["weight"]["level_distance"] == pytest.approx(expected)
    assert layer_statistics(layer("bc", [0.2, -0.3]))["weight"]["level_distance"] == 0


def test_outside_exact_is_the_theorys_share() -> None:
    assert layer_statistics(layer("bnn", [0.5, 2.0, -0.1, -3.0]))["weight"]["outside_exact"] == 0.5


def test_the_histogram_is_that_of_all_normalised_latents() -> None:
    model = nn.Sequential(layer("bc", [-9.0, -0.1, 0.1, 0.3]), layer("bc", [2.9, 100.0, 3.0, 0.2]))
    shares = latent_histogram(model)
    assert {index: share for index, share in enumerate(shares) if share} == {
        0: 0.125, 11: 0.125, 12: 0.25, 13: 0.125, 23: 0.375,
    }  # fmt: skip
    with pytest.raises(pc.ProxConnectError, match="has no latents"):
        latent_histogram(nn.Linear(2, 2))


def test_a_layer_that_is_switched_off_has_no_statistics() -> None:
    model = layer("bnn", [0.5, 2.0])
    Stage("none", 1).enter(model)
    assert layer_statistics(model) == {}


def test_a_run_logs_layers_and_totals(tmp_path: Path) -> None:
    base: dict[str, Any] = {"model": "resnet8", "data": "digits", "batch_size": 32, "epochs": 1}
    config = TrainConfig(**base, limit_train_batches=2, limit_val_batches=1, method="bnn")
    lines: list[str] = []
    run = train(config, tmp_path / "run", show=lines.append)
    [row] = read_epochs(tmp_path / "run" / "metrics.csv")
    layers = read_epochs(tmp_path / "run" / "layers.csv")
    assert [layer["elements"] for layer in layers] == [
        found.latent.numel() for found in binarized_weights(run.model)
    ]

    def total(key: str) -> float:
        sizes = [layer["elements"] for layer in layers]
        return sum(layer[key] * size for layer, size in zip(layers, sizes, strict=True)) / sum(sizes)

    for key in ("flip_rate", "outside_exact", "level_distance", "gradient_killed"):
        assert row[key] == pytest.approx(total(key), rel=1e-4)
        assert run.metrics[key] == pytest.approx(row[key], rel=1e-4)
    assert [total(column) for column in HISTOGRAM_COLUMNS] == pytest.approx(
        latent_histogram(run.model), abs=1e-6
    )
    assert 0 < row["gradient_killed"] < 1
    [line] = [line for line in lines if line.startswith("epoch ")]
    assert every(word in line for word in ("flips", "binary", "settled", "seconds"))
