"""Every method in every setting, on a CNN, a ViT and an LSTM: train, harden, pack, reload, compare."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from all_maps import METHODS
from looking import every
from torch import Tensor, nn
from torch.nn import functional

import proxconnect as pc
from proxconnect.layers import binarization_of, binarized_weights
from proxconnect.models import CifarResNet, VisionTransformer
from proxconnect.optim import default_method, default_schedule

STEPS = 4
NAMES = [*METHODS, "pq", "rpc"]
SETTINGS = ("bw", "bwa", "bwaa")


class Tagger(nn.Module):
    """Embedding, LSTM, two linear layers: a class for each sequence of words."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(11, 8)
        self.lstm = nn.LSTM(8, 12, num_layers=2, batch_first=True, bidirectional=True)
        self.norm = nn.LayerNorm(24)
        self.hidden = nn.Linear(24, 16)
        self.head = nn.Linear(16, 4)

    def forward(self, words: Tensor) -> Tensor:
        states, _ = self.lstm(self.words(words))
        logits: Tensor = self.head(functional.hardtanh(self.hidden(self.norm(states.mean(dim=1)))))
        return logits


# How many weights of each model are binarized.
WEIGHTS = {CifarResNet: 6, VisionTransformer: 4, Tagger: 10}


def cnn() -> tuple[nn.Module, Tensor]:
    return CifarResNet(8, classes=4, block="bireal", nonlinearity="rprelu"), torch.randn(6, 3, 8, 8)


def vit() -> tuple[nn.Module, Tensor]:
    return VisionTransformer(classes=4, image_size=8, width=24, depth=1, heads=2), torch.randn(6, 3, 8, 8)


def lstm() -> tuple[nn.Module, Tensor]:
    return Tagger(), torch.randint(11, (6, 5))


def chosen(model: nn.Module) -> Callable[[nn.Module, str], bool] | None:
    if not isinstance(model, Tagger):
        return None
    return lambda layer, name: name in ("words", "lstm", "hidden")


def trained(name: str, setting: str, model: nn.Module, inputs: Tensor, **options: Any) -> nn.Module:
    """``model`` after a few steps, by the name that a user would give."""
    rule, method = (name, default_method(name)) if name in ("pq", "rpc") else ("pc", name)
    pc.binarize_(model, pc.BinarizeConfig.from_setting(setting, method=method, **options), chosen(model))
    before = [found.latent.detach().clone() for found in binarized_weights(model)]
    base = torch.optim.Adam(pc.param_groups(model, lr=1e-2, latent_lr_relative=True))
    optimizer = pc.ProxOptimizer(base, model, rule)
    kind, start, end = default_schedule(method, rule)
    schedule = pc.MuSchedule(model, kind, start=start, end=end, steps=STEPS, fraction=0.75)
    labels = torch.arange(len(inputs)) % 4
    model.train()
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(inputs), labels)
        loss.backward()
        assert torch.isfinite(loss)
        optimizer.step()
        schedule.step()
    schedule.check_finished()
    after = [found.latent.detach() for found in binarized_weights(model)]
    assert every(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
    assert every(torch.isfinite(latent).all() for latent in after)
    return model.eval()


def check_packed(
    model: nn.Module, inputs: Tensor, setting: str, path: Path, into: nn.Module | None = None
) -> None:
    """Hardened, the model computes with levels times scales alone; packed and reloaded, it answers alike.

    The file has a graph of the network, or is loaded into another model of its kind.
    """
    levels = {found.name: set(found.quantizer.config.levels) for found in binarized_weights(model)}
    assert len(levels) == WEIGHTS[type(model)]
    pc.harden_(model)
    info = binarization_of(model)
    assert info is not None
    assert setting in info.setting.split(", ")
    tensors = model.state_dict()
    for name, allowed in levels.items():
        codes = tensors[name] / tensors[f"{name}_scale"].to(tensors[name].dtype)
        assert {round(code, 3) for code in codes.flatten().tolist()} <= allowed, name
    with torch.no_grad():
        expected = model(inputs)
    pc.save(model, path, None if into is not None else (inputs,))
    reference = pc.load(path, kernels="reference", model=copy.deepcopy(into))
    assert torch.equal(reference(inputs), expected)
    torch.testing.assert_close(pc.load(path, model=into)(inputs), expected, rtol=1e-5, atol=1e-5)


# In full every method in every setting on every model; by default each method, each setting and each model.
QUICK = {(name, "bw", cnn) for name in NAMES} | {
    (name, setting, model)
    for name in ("bnn++", "bc")
    for setting in SETTINGS
    for model in (cnn, vit, lstm)
    if name == "bnn++" or (setting, model) == ("bwa", vit)
}


@pytest.mark.parametrize(
    ("name", "setting", "model"),
    [
        pytest.param(name, setting, model, marks=[] if (name, setting, model) in QUICK else pytest.mark.full)
        for model in (cnn, vit, lstm)
        for setting in SETTINGS
        for name in NAMES
    ],
)
def test_trains_hardens_packs_and_reloads(
    name: str, setting: str, model: Callable[[], tuple[nn.Module, Tensor]], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network, inputs = model()
    # A graph depends on the setting, and not on the method.
    into = model()[0].eval() if setting == "bw" and name != "bnn++" else None
    packed = trained(name, setting, network, inputs)
    check_packed(packed, inputs, setting, tmp_path / "model.safetensors", into)


@pytest.mark.parametrize("name", ["pc", "pq", "parq"])
@pytest.mark.parametrize("model", [cnn, pytest.param(vit, marks=pytest.mark.full), lstm])
def test_ternary_levels(name: str, model: Callable[[], tuple[nn.Module, Tensor]], tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, inputs = model()
    trained(name, "bw", network, inputs, levels=(-1, 0, 1))
    check_packed(network, inputs, "bw", tmp_path / "model.safetensors")
