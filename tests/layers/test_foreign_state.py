"""State dictionaries of float and hardened models load into binarized ones."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from looking import every
from torch import nn

import proxconnect as pc

TERNARY = (-1, 0, 1)


class Model(nn.Module):
    """Each kind of layer, two of which share a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(9, 8)
        self.lstm = nn.LSTM(8, 8, batch_first=True)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.conv = nn.ConvTranspose1d(8, 8, 3, padding=1)
        self.norm = nn.BatchNorm1d(8)
        self.body = nn.Linear(8, 8)
        self.head = nn.Linear(8, 9)
        self.head.weight = self.embed.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.lstm(self.embed(tokens))[0]
        x = self.attention(x, x, x)[0]
        x = self.norm(self.conv(x.transpose(1, 2)))
        return self.head(self.body(x.transpose(1, 2)))


CONFIGS = {
    "bnn++": pc.BinarizeConfig("bnn++"),
    "ternary": pc.BinarizeConfig("bc", levels=TERNARY, scale="tensor"),
    "learned groups": pc.BinarizeConfig("bc", levels=(-3, -1, 1, 3), scale=3, learn_scale=True),
    "bwa": pc.BinarizeConfig.from_setting("bwa", method="bc", learn_thresholds=True),
}
TOKENS = torch.arange(9).view(3, 3)


def build(seed: int, config: pc.BinarizeConfig | None = None) -> Model:
    torch.manual_seed(seed)
    model = Model().eval()
    return model if config is None else pc.binarize_(model, config, lambda module, name: True)


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_float_state_loads_as_if_binarized_after_it(config: pc.BinarizeConfig, assign: bool) -> None:
    state = build(1).state_dict()
    before = {name: tensor.clone() for name, tensor in state.items()}
    model, expected = build(2, config), build(1, config)
    pc.MuSchedule(model, "constant", start=3)
    pc.MuSchedule(expected, "constant", start=3)
    model.load_state_dict(state, assign=assign)
    assert list(state) == list(before)
    found, wanted = model.state_dict(), expected.state_dict()
    assert list(found) == list(wanted)
    assert every(torch.equal(found[name], wanted[name]) for name in wanted)
    assert torch.equal(model(TOKENS), expected(TOKENS))


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_hardened_state_loads_and_hardens_to_the_same(config: pc.BinarizeConfig) -> None:
    hard = pc.harden_(build(1, config))
    for name, tensor in hard.named_parameters():
        if "thresholds" in name:
            nn.init.normal_(tensor)
    model = build(2, config)
    model.load_state_dict(hard.state_dict())
    assert torch.equal(pc.harden_(model)(TOKENS), hard(TOKENS))


def test_its_own_state_loads_as_before() -> None:
    model, other = build(1, CONFIGS["ternary"]), build(2, CONFIGS["ternary"])
    with torch.no_grad():
        model.body.parametrizations.weight.original.mul_(3)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(TOKENS), model(TOKENS))
    assert torch.equal(
        other.body.parametrizations.weight[0].latent_scale, model.body.parametrizations.weight[0].latent_scale
    )


def test_copies_and_pickles_load_into_themselves() -> None:
    model = build(2, CONFIGS["bnn++"])
    state = build(1).state_dict()
    twin = copy.deepcopy(model)
    twin.load_state_dict(state)
    assert torch.equal(twin.body.parametrizations.weight.original, state["body.weight"])
    assert not torch.equal(model.body.parametrizations.weight.original, state["body.weight"])
    hard = pc.harden_(model)
    assert not hard.body._load_state_dict_pre_hooks
    assert torch.equal(pickle.loads(pickle.dumps(hard.conv)).weight, hard.conv.weight)


def test_a_weight_of_another_shape_is_torchs_to_refuse() -> None:
    state = build(1).state_dict()
    state["body.weight"] = torch.zeros(3, 8)
    with pytest.raises(RuntimeError, match=r"size mismatch for body.parametrizations.weight.original"):
        build(2, CONFIGS["bnn++"]).load_state_dict(state)


def test_a_layer_of_ones_own_is_the_root() -> None:
    layer = pc.binarize_(nn.Linear(4, 4), pc.BinarizeConfig("bc"), lambda module, name: True)
    state = nn.Linear(4, 4).half().state_dict()
    layer.load_state_dict(state)
    assert torch.equal(layer.parametrizations.weight.original, state["weight"].float())
