"""Parameter groups and latent clipping."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from looking import every, some
from torch import nn

import proxconnect as pc
from proxconnect.layers import binarized_weights, latent_weight
from proxconnect.optim import ADAM_LATENT_LR, ADAM_LR


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return pc.binarize_(nn.Sequential(*(nn.Linear(3, 3) for _ in range(4))), pc.BinarizeConfig())


def latents(network: nn.Module) -> list[nn.Parameter]:
    return [latent_weight(module) for _, module, _, _ in binarized_weights(network)]


def test_every_parameter_is_in_one_group() -> None:
    network = model()
    groups = {
        group["name"]: group
        for group in pc.param_groups(network, lr=0.1, weight_decay=0.2, latent_weight_decay=0.3)
    }
    assert [id(p) for p in groups["latent"]["params"]] == [id(p) for p in latents(network)]
    everything = [id(p) for group in groups.values() for p in group["params"]]
    assert sorted(everything) == sorted(id(p) for p in network.parameters())
    assert (groups["rest"]["weight_decay"], groups["latent"]["weight_decay"]) == (0.2, 0.3)


def test_learning_rate_of_latents() -> None:
    groups = pc.param_groups(model(), lr=0.1, latent_lr=0.5)
    assert {group["name"]: group["lr"] for group in groups} == {"rest": 0.1, "latent": 0.5}


def test_relative_learning_rate_moves_normalised_latents_at_one_pace() -> None:
    network = model()
    with torch.no_grad():
        for factor, (_, module, _, quantizer) in zip((0.01, 100.0), binarized_weights(network), strict=True):
            latent_weight(module).mul_(factor)
            quantizer.latent_scale.mul_(factor)
    before = [
        (latent.detach().clone(), q)
        for latent, (_, _, _, q) in zip(latents(network), binarized_weights(network), strict=True)
    ]
    optimizer = torch.optim.Adam(pc.param_groups(network, lr=0.1, latent_lr_relative=True), eps=0)
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    for latent, (old, quantizer) in some(zip(latents(network), before, strict=True)):
        moved = (old - latent.detach()) / quantizer.latent_scale.mean()
        torch.testing.assert_close(moved, torch.full_like(moved, 0.1), rtol=1e-3, atol=1e-3)


def test_latent_weight_decay_moves_latents_alone() -> None:
    network = model()
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    optimizer = torch.optim.SGD(pc.param_groups(network, lr=1.0, latent_weight_decay=0.25))
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in some(network.named_parameters()):
        factor = 0.75 if name.endswith("original") else 1.0
        assert torch.equal(parameter, factor * before[name])


def test_clipping_bounds_normalised_latents_alone() -> None:
    network = model()
    optimizer = torch.optim.SGD(pc.param_groups(network, lr=100.0, latent_clip=0.5))
    handle = pc.clip_latents(optimizer, network)
    network(torch.randn(8, 3)).square().sum().backward()
    optimizer.step()
    for _, module, _, quantizer in binarized_weights(network):
        assert quantizer.normalized(latent_weight(module)).abs().max() <= 0.5 + 1e-6
    assert network[0].weight.abs().max() > 1
    handle.remove()
    optimizer.step()
    assert max(latent.abs().max().item() for latent in latents(network)) > 1


def test_without_a_bound_nothing_is_clipped() -> None:
    network, free = model(), model()
    for each, clip in ((network, True), (free, False)):
        optimizer = torch.optim.SGD(pc.param_groups(each, lr=100.0))
        if clip:
            pc.clip_latents(optimizer, each)
        each(torch.ones(8, 3)).square().sum().backward()
        optimizer.step()
    assert every(torch.equal(a, b) for a, b in zip(network.parameters(), free.parameters(), strict=True))


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf"), True, "0.1", [0.1]])
def test_refuses_what_is_not_a_positive_number(value: Any) -> None:
    with pytest.raises(pc.ProxConnectError, match=r"^lr must be a positive number, not"):
        pc.param_groups(model(), lr=value)
    for name in ("latent_lr", "latent_clip"):
        with pytest.raises(pc.ProxConnectError, match=f"{name} must be a positive number or None, not"):
            pc.param_groups(model(), lr=0.1, **{name: value})
    for name in ("weight_decay", "latent_weight_decay"):
        if value != 0:
            with pytest.raises(pc.ProxConnectError, match=f"^{name} must be a number of at least 0, not"):
                pc.param_groups(model(), lr=0.1, **{name: value})


def test_refuses_latent_options_without_latents() -> None:
    with pytest.raises(pc.ProxConnectError, match="need a model with binarized layers"):
        pc.param_groups(nn.Linear(2, 2), lr=0.1, latent_weight_decay=0.1)


def test_without_a_rate_all_values_suit_adam() -> None:
    network = model()
    assert pc.param_groups(network) == pc.param_groups(
        network, ADAM_LR, latent_lr=ADAM_LATENT_LR, latent_lr_relative=True
    )
    given = pc.param_groups(network, latent_lr=0.25, latent_lr_relative=False, latent_clip=2.0)
    assert given == pc.param_groups(network, ADAM_LR, latent_lr=0.25, latent_clip=2.0)


def test_without_a_rate_the_latents_of_bnn_are_clipped() -> None:
    layer = pc.binarize_(nn.Linear(4, 4), pc.BinarizeConfig("bnn"), lambda module, name: True)
    assert [group["latent_clip"] for group in pc.param_groups(layer)[1:]] == [1.0]
    assert [group["latent_clip"] for group in pc.param_groups(layer, lr=1.0)[1:]] == [None]
