"""Hardening says in one line where it moves weights or activations far from what was trained."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import proxconnect as pc
from proxconnect.layers import binarized_weights, level_distance
from proxconnect.quantizers import sign

FORMS: dict[str, Callable[[nn.Module, Path], Any]] = {
    "harden_": lambda model, folder: pc.harden_(model),
    "pack_": lambda model, folder: pc.pack_(model),
    "save": lambda model, folder: pc.save(model, folder / "model.safetensors", torch.zeros(2, 16)),
}


def binarized(**values: Any) -> nn.Sequential:
    torch.manual_seed(0)
    layers = (nn.Linear(16, 32), nn.LayerNorm(32), nn.Linear(32, 24), nn.Linear(24, 24), nn.Linear(24, 4))
    config = pc.BinarizeConfig.from_setting(values.pop("setting", "bw"), **values)
    return pc.binarize_(nn.Sequential(*layers), config)


def trained(mu: float | None = None, of: str = "weights", **values: Any) -> nn.Sequential:
    """Train a network for one step; a schedule sets its sharpness, if one is given."""
    model = binarized(**values)
    optimizer = torch.optim.SGD(pc.param_groups(model, lr=0.01))
    model(torch.randn(8, 16)).square().mean().backward()
    optimizer.step()
    if mu is not None:
        pc.MuSchedule(model, "constant", start=mu, of=of)
    return model


def warned(function: Callable[[], Any]) -> list[warnings.WarningMessage]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function()
    return [warning for warning in caught if "hardening changes" in str(warning.message)]


@pytest.mark.parametrize("form", FORMS)
def test_a_forgotten_schedule_is_noticed(form: str, tmp_path: Path) -> None:
    (warning,) = warned(lambda: FORMS[form](trained(method="bnn++"), tmp_path))
    text = str(warning.message)
    assert "weights of 2 of 2 layers" in text
    assert "at mu 1, which no schedule has set" in text
    assert "MuSchedule" in text
    assert "\n" not in text
    assert warning.filename == __file__


def test_a_schedule_stepped_too_rarely_is_noticed() -> None:
    (warning,) = warned(lambda: pc.harden_(trained(mu=1.5, method="bnn++")))
    assert "at mu 1.5." in str(warning.message)


@pytest.mark.parametrize(
    ("method", "mu"), [("bc", 1), ("bnn", 1), ("bnn+", 1), ("ede", 0.1), ("bnn++", 300), ("hardtanh", 100)]
)
def test_weights_on_their_levels_are_silent(method: str, mu: float) -> None:
    model = trained(mu=mu, method=method)
    assert not warned(lambda: pc.harden_(model))


def test_a_network_that_was_not_trained_is_silent() -> None:
    assert not warned(lambda: pc.harden_(binarized(method="bnn++")))


def test_soft_activations_are_noticed() -> None:
    model = trained(mu=300, setting="bwa", method="bnn++", activations="bnn++")
    (warning,) = warned(lambda: pc.harden_(copy.deepcopy(model)))
    assert "activations of 2 of 2 layers" in str(warning.message)
    pc.MuSchedule(model, "constant", start=300, of="activations")
    assert not warned(lambda: pc.harden_(model))


def test_weights_that_the_prox_has_not_reached_are_noticed() -> None:
    """Under ProxQuant the layers compute with what is stored, whatever F is."""
    model = binarized(method="bc")
    base = torch.optim.SGD(pc.param_groups(model, lr=1e-3))
    optimizer = pc.ProxOptimizer(base, model, rule="pq")
    pc.MuSchedule(model, "constant", start=1e-3)
    model(torch.randn(8, 16)).square().mean().backward()
    optimizer.step()
    assert len(warned(lambda: pc.harden_(model))) == 1


def test_the_distance_is_what_hardening_moves() -> None:
    """Literally: the mean of ``|w - w_hard|`` in units of each channel's scale."""
    model = trained(mu=2.0, method="bnn++")
    with pytest.warns(UserWarning, match="hardening changes"):
        hard = pc.harden_(copy.deepcopy(model).eval())
    for found in binarized_weights(model.eval()):
        scale = found.quantizer.exact_scale(found.latent)
        soft = found.module.weight.detach() / scale
        expected = (soft - sign(hard.get_submodule(found.fqn).weight, 1.0)).abs().mean()
        assert level_distance(found) == pytest.approx(expected.item(), rel=1e-5)
        assert level_distance(found) > 0.1


def test_the_summary_shows_sharpness_and_distance() -> None:
    model = trained(mu=2.0, method="bnn++")
    shown = pc.summary(model)
    found = next(binarized_weights(model))
    row = next(layer for layer in shown.layers if layer.name == found.fqn)
    assert row.mu == 2.0
    assert row.level_distance == level_distance(found)
    assert next(layer for layer in shown.layers if layer.bits == 32).mu is None
    assert "level distance" in str(shown)
    assert shown.to_dict()["layers"][0].keys() >= {"mu", "level_distance"}
    assert "level distance" not in str(pc.summary(pc.harden_(binarized())))
