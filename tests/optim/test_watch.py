"""Mistakes of a training loop that no error shows are each noticed with one warning, and nothing else is."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from looking import same_tensors
from torch import Tensor, nn
from torch.optim import Optimizer

import proxconnect as pc
from proxconnect.layers import latent_weight
from proxconnect.optim import CumulativeSchedule


def network(method: str = "bnn++") -> nn.Sequential:
    torch.manual_seed(0)
    return pc.binarize_(nn.Sequential(*(nn.Linear(6, 6) for _ in range(4))), pc.BinarizeConfig(method))


def inputs(step: int) -> Tensor:
    return torch.randn(8, 6, generator=torch.Generator().manual_seed(step))


def plain(parameters: Iterable[Any]) -> Optimizer:
    return torch.optim.SGD(parameters, lr=0.1)


def trained(
    model: nn.Module, optimizer: Optimizer, *, batches: int, every: int, count: str = "batches"
) -> list[str]:
    """Run a loop that steps the optimizer with every so many batches, and return its warnings."""
    steps = batches if count == "batches" else batches // every
    schedule = pc.MuSchedule(model, "linear", start=1, end=5, steps=steps)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for batch in range(batches):
            model(inputs(batch)).square().mean().backward()
            last = batch % every == every - 1
            if last:
                optimizer.step()
                optimizer.zero_grad()
            if last or count == "batches":
                schedule.step()
    return [str(each.message) for each in caught if issubclass(each.category, UserWarning)]


@pytest.mark.parametrize("every", [2, 3, 4, 8])
def test_a_schedule_stepped_through_gradient_accumulation_is_noticed_once(every: int) -> None:
    model = network()
    said = trained(model, plain(model.parameters()), batches=5 * every, every=every)
    assert len(said) == 1
    assert "no optimizer moved the latents: with gradient accumulation, call schedule.step()" in said[0]


OPTIMIZERS: dict[str, Callable[[Any], Optimizer]] = {
    "sgd": plain,
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, lr=0.1),
    "adam, one by one": lambda p: torch.optim.Adam(p, lr=0.1, foreach=False),
    "adam, fused": lambda p: torch.optim.Adam(p, lr=0.1, fused=True),
    "sgd, fused": lambda p: torch.optim.SGD(p, lr=0.1, fused=True),
    "no step": lambda p: torch.optim.SGD(p, lr=0.0),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_whatever_the_optimizer(name: str) -> None:
    model = network()
    optimizer = OPTIMIZERS[name](model.parameters())
    assert trained(model, optimizer, batches=12, every=1) == []
    assert trained(model, optimizer, batches=12, every=4, count="steps") == []
    assert len(trained(model, optimizer, batches=12, every=4)) == 1


def test_steps_that_a_grad_scaler_skips_are_not_taken_for_accumulation() -> None:
    model = network()
    optimizer = plain(model.parameters())
    schedule = pc.MuSchedule(model, "linear", start=1, end=5, steps=20)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**126, growth_interval=1000)
    skipped = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        for step in range(20):
            optimizer.zero_grad()
            scaler.scale(16 * model(inputs(step)).square().mean()).backward()
            before = scaler.get_scale()
            scaler.step(optimizer)
            scaler.update()
            skipped += scaler.get_scale() < before
            schedule.step()
    assert 2 < skipped < 10


def test_a_schedule_without_training_or_with_other_networks_says_nothing() -> None:
    model, other = network(), network()
    optimizer = plain(other.parameters())
    schedule = pc.MuSchedule(model, "linear", start=1, end=5, steps=10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for step in range(10):
            other(inputs(step)).sum().backward()
            optimizer.step()
            schedule.step()


def test_looking_changes_nothing() -> None:
    def run(watched: bool) -> dict[str, Tensor]:
        model = network()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        schedule = pc.MuSchedule(model, "linear", start=1, end=5, steps=6)
        if not watched:
            schedule._watch = None
        for step in range(6):
            optimizer.zero_grad()
            model(inputs(step)).square().mean().backward()
            optimizer.step()
            schedule.step()
        return model.state_dict()

    watched, alone = run(True), run(False)
    assert watched.keys() == alone.keys()
    assert same_tensors(watched, alone)


def decaying(model: nn.Module) -> list[dict[str, Any]]:
    """Make groups as many factories do: matrices are decayed, vectors are not."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    kept = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": kept, "weight_decay": 0.0}, {"params": decayed, "weight_decay": 0.05}]


@pytest.mark.parametrize(
    "groups", [decaying, lambda model: model.parameters(), lambda model: model.named_parameters()]
)
def test_latents_in_a_group_with_weight_decay_are_noticed_once(groups: Callable[[nn.Module], Any]) -> None:
    model = network()
    optimizer = torch.optim.AdamW(groups(model), lr=1e-3, weight_decay=0.05)
    said = trained(model, optimizer, batches=6, every=1)
    assert len(said) == 1
    assert "2 latent weights, '1.weight' first, are in a parameter group with weight_decay 0.05" in said[0]
    assert trained(model, optimizer, batches=6, every=1) == []


def test_weight_decay_is_noticed_by_whatever_is_given_the_optimizer() -> None:
    model = network("bc")
    with pytest.warns(UserWarning, match="latent weights, '1.weight' first") as caught:
        optimizer = pc.ProxOptimizer(torch.optim.AdamW(model.parameters(), lr=1e-3), model)
    assert [each.filename for each in caught] == [__file__]
    assert trained(model, optimizer, batches=3, every=1) == []
    model = network("binary-relax")
    with pytest.warns(UserWarning, match="latent weights, '1.weight' first"):
        CumulativeSchedule(model, torch.optim.AdamW(model.parameters(), lr=1e-3))


def test_weight_decay_that_was_asked_for_or_spares_the_latents_is_not_noticed() -> None:
    for options in ({"weight_decay": 0.1}, {"latent_weight_decay": 0.1, "latent_lr_relative": True}):
        model = network()
        optimizer = torch.optim.AdamW(pc.param_groups(model, lr=1e-3, **options))
        assert trained(model, optimizer, batches=4, every=1) == []
    model = network()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer = pc.ProxOptimizer(torch.optim.AdamW(model.parameters(), lr=1e-3), model, rule="fp")
    assert trained(model, optimizer, batches=4, every=1) == []


def test_a_finished_schedule_in_a_longer_one_is_noticed() -> None:
    model = network()
    schedule = pc.MuSchedule(model, "exponential", start=1, end=256, steps=4)
    for _ in range(4):
        schedule.step()
    state = schedule.state_dict()
    longer = pc.MuSchedule(model, "exponential", start=1, end=256, steps=8)
    with pytest.warns(UserWarning, match=r"after 4 steps at mu 256, where this schedule has mu 16") as caught:
        longer.load_state_dict(state)
    assert [each.filename for each in caught] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pc.MuSchedule(model, "exponential", start=1, end=256, steps=4).load_state_dict(state)
        longer.load_state_dict({"count": 4})  # as older releases wrote it
        # Further steps at the end that was reached: nothing jumps.
        pc.MuSchedule(model, "exponential", start=1, end=256, steps=8, fraction=0.5).load_state_dict(state)


def test_a_hardened_model_is_not_kept_alive_for_long() -> None:
    model = network()
    schedule = pc.MuSchedule(model, "constant")
    latent_weight(model[1]).grad = torch.ones(6, 6)
    for _ in range(100):
        schedule.step()
    assert schedule._watch is None
