"""The share of a model's latents outside the exact interval of their pairs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import proxconnect as pc
from proxconnect.theory import outside_exact_interval
from proxconnect.theory.criterion import coverage

W = torch.tensor([[-3.0, -2.4, -2.39, -1.0, 0.0, 0.5, 1.1, 2.3, 2.41, 9.0]])


def off_the_levels() -> pytest.WarningsRecorder:
    """Expect the warning that a forward quantizer does not approach the levels."""
    return pytest.warns(UserWarning, match="does not approach the levels")


def model_of(*methods: str | pc.ForwardBackward, latents: torch.Tensor = W) -> nn.Module:
    """Make one layer for each method, all with the same latents, in units of ``s = 1``."""
    model = nn.Sequential()
    for method in methods:
        layer = nn.Linear(latents.shape[1], 1)
        layer.weight = nn.Parameter(latents.clone())
        config = pc.BinarizeConfig(method=method, scale=None)
        model.append(pc.binarize_(layer, config, filter_fn=lambda module, name: True))
    return model


def set_mu(model: nn.Module, mu: float) -> None:
    for module in model:
        module.parametrizations.weight[0].mu.fill_(mu)


@pytest.mark.parametrize("mu", [0.25, 1.0, 7.0])
def test_shares_of_the_catalogue(mu: float) -> None:
    model = model_of("bc", "bnn", "bnn+", "bnn++", "bnn++m")
    set_mu(model, mu)
    size = mu * W.double().abs()
    assert outside_exact_interval(model) == pytest.approx(
        {
            "0.weight": 0.0,
            "1.weight": (size > 1).double().mean().item(),
            "2.weight": 0.9,  # all but the latent at 0
            "3.weight": (size > 2.39936).double().mean().item(),
            "4.weight": 0.0,
        }
    )


def test_latents_count_in_units_of_their_scale() -> None:
    layer = nn.Linear(10, 1)
    layer.weight = nn.Parameter(W.clone())
    model = pc.binarize_(nn.Sequential(layer), pc.BinarizeConfig(), filter_fn=lambda module, name: True)
    expected = (W.abs() / W.abs().mean() > 2.39936).double().mean().item()
    assert expected == 0.1
    assert outside_exact_interval(model) == {"0.weight": pytest.approx(expected)}


def test_ends_that_do_not_belong_to_the_interval() -> None:
    def falling_at_one(w: torch.Tensor, mu: float) -> torch.Tensor:
        return torch.where(w >= 1, w - 1, w)

    pair = pc.ForwardBackward(falling_at_one, lambda w, mu: torch.ones_like(w))
    assert not pc.check(pair).exact_interval.high_closed
    with off_the_levels():
        model = model_of(pair, latents=torch.tensor([[0.0, 0.5, 1.0, 2.0]]))
    assert outside_exact_interval(model) == {"0.weight": 0.5}


def test_where_nothing_is_known_everything_is_outside() -> None:
    noisy = pc.ForwardBackward(lambda w, mu: w, lambda w, mu: 1 + torch.rand_like(w), "noisy")
    with off_the_levels():
        model = model_of(noisy)
    assert outside_exact_interval(model) == {"0.weight": 1.0}


def test_latents_of_which_nothing_is_known_count_as_outside() -> None:
    def backward(w: torch.Tensor, mu: float) -> torch.Tensor:
        return 2 + torch.sin(1 / torch.where(w == 0.5, 1e-30, w - 0.5))

    pair = pc.ForwardBackward(lambda w, mu: w * 1, backward, "undetermined")
    with off_the_levels():
        model = model_of(pair, latents=torch.tensor([[-0.5, 0.0, 0.5, 0.75]]))
    assert outside_exact_interval(model) == {"0.weight": 0.5}


def test_equal_layers_share_one_check(monkeypatch: pytest.MonkeyPatch) -> None:
    checked = []

    def counted(pair: pc.ForwardBackward, mu: float) -> object:
        checked.append((pair.name, mu))
        return pc.check(pair, mu)

    monkeypatch.setattr(coverage, "check", counted)
    model = model_of("bnn++", "bnn++", "bnn")
    set_mu(model[:1], 2.0)
    outside_exact_interval(model)
    assert checked == [("bnn++", 2.0), ("bnn++", 1.0), ("bnn", 1.0)]


def test_a_model_without_binarized_layers_has_no_shares() -> None:
    assert outside_exact_interval(nn.Linear(2, 2)) == {}
