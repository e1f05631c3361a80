"""The layers that are chosen, the reasons why others are not, and refused models."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from looking import every
from torch import nn

import proxconnect as pc
from proxconnect.layers import binarized_weights

BC, PC = pc.BinarizeConfig("bc"), pc.BinarizeConfig("pc", levels=(-1, 0, 1))


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 4)
        self.stem = nn.Linear(4, 4)
        self.norm = nn.LayerNorm(4)
        self.body = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
        self.lstm = nn.LSTM(4, 4, batch_first=True)
        self.head = nn.Linear(4, 2)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.stem(self.embed(tokens)))
        for layer in self.body:
            x = layer(x)
        return self.head(self.lstm(x)[0])


def methods_of(model: nn.Module) -> dict[str, str]:
    return {found.name: found.quantizer.pair.name for found in binarized_weights(model)}


def skipped(model: nn.Module) -> dict[str, str]:
    return {layer.name: layer.skipped for layer in pc.summary(model).layers if layer.skipped}


def test_the_first_entry_that_fits_decides() -> None:
    config = {"body.1": None, r"re:body\.\d": BC, "lstm": PC, "re:.*": None}
    model = pc.binarize_(Model(), config)
    assert methods_of(model) == {
        "body.0.weight": "bc",
        "body.2.weight": "bc",
        "lstm.weight_ih_l0": "pc",
        "lstm.weight_hh_l0": "pc",
    }
    assert skipped(model) == {
        "embed": "pattern 're:.*'",
        "stem": "pattern 're:.*'",
        "norm": "not binarizable",
        "body.1": "pattern 'body.1'",
        "head": "pattern 're:.*'",
    }
    assert skipped(pc.binarize_(Model(), {"body.0": BC}))["head"] == "no pattern"


def test_reasons_stay_with_the_model(tmp_path: Path) -> None:
    model = pc.binarize_(Model(), BC)
    expected = {
        "embed": "first layer",
        "norm": "not binarizable",
        "lstm": "only Linear and Conv by default",
        "head": "last layer",
    }
    for form in (
        model,
        copy.deepcopy(model),
        pc.harden_(copy.deepcopy(model)),
        pc.pack_(copy.deepcopy(model)),
    ):
        assert skipped(form) == expected
    assert pc.summary(model).to_dict()["layers"][0]["skipped"] == "first layer"
    assert "first layer" in str(pc.summary(model))
    assert skipped(pc.binarize_(Model(), BC, lambda module, name: name == "head"))["stem"] == "filter_fn"
    assert skipped(Model()) == {"norm": "not binarizable"}
    assert every(not layer.skipped for layer in pc.summary(pc.save(model, tmp_path / "m")).layers)


def tied(kind: type[nn.Module] = nn.Linear) -> Model:
    model = Model()
    model.head = nn.Linear(4, 5) if kind is nn.Linear else nn.Bilinear(4, 4, 5)
    model.head.weight = model.embed.weight
    return model


def test_tied_layers_share_latent_quantizer_and_file(tmp_path: Path) -> None:
    config = pc.BinarizeConfig("bc", learn_scale=True)
    model = pc.binarize_(tied(), {"re:embed|head": config})
    embed, head = binarized_weights(model)
    assert embed.latent is head.latent
    assert embed.quantizer is head.quantizer
    twin = copy.deepcopy(model)
    assert len({id(found.quantizer) for found in binarized_weights(twin)}) == 1
    tokens = torch.randint(5, (2, 3))
    model(tokens).sum().backward()
    assert embed.latent.grad is not None
    path = pc.save(model, tmp_path / "m.safetensors", tokens)
    assert "head.weight.bits" not in pc.inspect(path).tensors
    hard = pc.harden_(model).eval()
    assert hard.head.weight is hard.embed.weight
    assert torch.equal(pc.load(path, kernels="reference")(tokens), hard(tokens))
    loaded = pc.load(path, model=tied())
    assert loaded.head.packed.weight is loaded.embed.packed.weight
    assert torch.equal(loaded(tokens), hard(tokens))


REFUSED: list[tuple[Any, Any, Any, str]] = [
    (Model, {r"re:body\d": BC}, None, r"pattern 're:body\\\\d' fits no layer .* 'embed', 'stem'"),
    (Model, {"norm": BC}, None, "pattern 'norm' fits no layer that can be binarized"),
    (Model, {"re:(": BC}, None, r"pattern 're:\(' is not a regular expression"),
    (Model, {"head": "bc"}, None, "pattern 'head': expected a BinarizeConfig or None, not 'bc'"),
    (Model, {"head": BC}, lambda module, name: True, "pass it without filter_fn"),
    (Model, {"re:.*": None}, None, "nothing to binarize: .*'embed' .pattern 're:"),
    (Model, {}, None, "nothing to binarize: .*'embed' .no pattern."),
    (lambda: nn.ReLU(), BC, None, "nothing to binarize: .*there are none"),
    (tied, {"head": BC}, None, "weight of layer 'embed' is shared .* not chosen .no pattern."),
    (tied, {"head": BC, "embed": PC}, None, "layer 'head' shares its weight with one .* binarize both alike"),
    (lambda: tied(nn.Bilinear), {"embed": BC}, None, r"shared .*\(not binarizable\)"),
    (lambda: pc.binarize_(Model(), {"lstm": BC}), {"lstm": BC}, None, "layer 'lstm' is binarized already"),
    (lambda: pc.pack_(pc.binarize_(Model(), {"lstm": BC})), {"lstm": BC}, None, "layer 'lstm' is packed"),
    (lambda: nn.Sequential(nn.LazyLinear(3)), {"0": BC}, None, "is a lazy one: call the model once"),
    (lambda: nn.Linear(0, 3), {"": BC}, None, r"has no elements, but the shape \(3, 0\)"),
]


@pytest.mark.parametrize(("build", "config", "filter_fn", "message"), REFUSED)
def test_a_choice_that_cannot_be_is_refused_and_changes_nothing(
    build: Any, config: Any, filter_fn: Any, message: str
) -> None:
    model = build()
    before = list(model.state_dict())
    with pytest.raises(pc.ProxConnectError, match=message):
        pc.binarize_(model, config, filter_fn)
    assert list(model.state_dict()) == before


def test_every_tensor_of_a_layer_must_be_finite() -> None:
    model = Model()
    with torch.no_grad():
        model.lstm.weight_hh_l0[0, 0] = torch.nan
    with pytest.raises(pc.ProxConnectError, match="weight_hh_l0 of layer 'lstm' has NaN or infinite"):
        pc.binarize_(model, {"lstm": BC})
