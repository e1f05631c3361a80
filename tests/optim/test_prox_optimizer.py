"""ProxOptimizer is a torch optimizer in every respect."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import pytest
import torch
from looking import every, same_tensors
from torch import Tensor, nn
from torch.optim import Optimizer

import proxconnect as pc
from proxconnect.layers import latent_weight
from proxconnect.optim import RULES

BASES = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "adamw foreach": lambda p: torch.optim.AdamW(p, lr=0.01, foreach=True),
    "adamw fused": lambda p: torch.optim.AdamW(p, lr=0.01, fused=True),
    "sgd fused": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, fused=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01),
}


def network(name: str = "bc") -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 2))
    return pc.binarize_(model, pc.BinarizeConfig(name))


def batch(step: int) -> Tensor:
    return torch.randn(8, 4, generator=torch.Generator().manual_seed(step))


def loss_of(model: nn.Module, step: int) -> Tensor:
    return (model(batch(step)) - 1).square().mean()


def train(model: nn.Module, optimizer: Optimizer, steps: range = range(4)) -> None:
    for step in steps:
        optimizer.zero_grad()
        loss_of(model, step).backward()
        optimizer.step()


def same(a: nn.Module, b: nn.Module) -> bool:
    return every(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


@pytest.mark.parametrize("name", BASES)
def test_rule_pc_is_the_bare_optimizer(name: str) -> None:
    bare, wrapped = network("bnn++"), network("bnn++")
    train(bare, BASES[name](bare.parameters()))
    optimizer = pc.ProxOptimizer(BASES[name](wrapped.parameters()), wrapped)
    train(wrapped, optimizer)
    assert isinstance(optimizer, Optimizer)
    assert same(bare, wrapped)
    assert not same(bare, network("bnn++"))


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize("rule", ["fp", "rpc", "pq"])
def test_every_base_trains_under_every_rule(rule: str, name: str) -> None:
    """The loop of one implementation of a base, single-tensor, is what foreach and fused ones equal."""
    models = [network(), network()]
    plain = {"adamw foreach": "adamw", "adamw fused": "adamw", "sgd fused": "sgd momentum"}.get(name)
    bases = {
        "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, foreach=False),
        "sgd momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, foreach=False),
        None: BASES[name],
    }
    for model, make in zip(models, (BASES[name], bases[plain]), strict=True):
        pc.MuSchedule(model, "constant", start=2.0)
        train(model, pc.ProxOptimizer(make(model.parameters()), model, rule))
    for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    assert not same(models[0], network())


@pytest.mark.parametrize("rule", RULES)
def test_closure(rule: str) -> None:
    models = [network("bc"), network("bc")]
    optimizers = [pc.ProxOptimizer(torch.optim.Adam(m.parameters(), lr=0.01), m, rule) for m in models]
    train(models[0], optimizers[0])
    for step in range(4):

        def closure(step: int = step) -> Tensor:
            optimizers[1].zero_grad()
            loss = loss_of(models[1], step)
            loss.backward()
            return loss

        loss = optimizers[1].step(closure)
        assert loss.requires_grad
    assert same(*models)


@pytest.mark.parametrize("rule", RULES)
def test_lbfgs(rule: str) -> None:
    """One inner iteration from scratch is a gradient step, whose length LBFGS chooses."""
    model = network("bc")
    base = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=1)
    optimizer = pc.ProxOptimizer(base, model, rule)
    losses, latent = [], latent_weight(model[2])
    before = latent.detach().clone()

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(model, 0)
        loss.backward()
        losses.append(loss.item())
        return loss

    optimizer.step(closure)
    assert len(losses) == 1
    gradient, length = latent.grad, 0.5 * min(1.0, 1.0 / sum(p.grad.abs().sum() for p in model.parameters()))
    scale = model[2].parametrizations.weight[0].latent_scale
    start = scale * before.sign() if rule == "rpc" else before
    moved = start - length * gradient
    if rule == "pq":
        q, strength = scale * moved.sign(), 0.5
        moved = (q + (moved - q).sign() * ((moved - q).abs() - strength).clamp(min=0)).clamp(-scale, scale)
    torch.testing.assert_close(latent.detach(), moved)
    for _ in range(5):
        optimizer.step(closure)
    assert losses[-1] < losses[0]


def test_groups_and_state_are_those_of_the_base() -> None:
    model = network()
    base = torch.optim.Adam(pc.param_groups(model, lr=0.01))
    optimizer = pc.ProxOptimizer(base, model, "rpc")
    assert optimizer.param_groups is base.param_groups
    assert optimizer.state is base.state
    assert [group["name"] for group in optimizer.param_groups] == ["rest", "latent"]
    extra = nn.Parameter(torch.ones(3))
    optimizer.add_param_group({"params": [extra], "lr": 0.5})
    assert base.param_groups[-1]["params"][0] is extra
    train(model, optimizer)
    assert latent_weight(model[2]) in base.state
    base.load_state_dict(base.state_dict())
    assert optimizer.param_groups is base.param_groups
    assert "lr: 0.5" in repr(optimizer)


def test_a_latent_added_later_follows_the_rule() -> None:
    models = [network(), network()]
    latent_weight(models[1][2]).requires_grad_(False)
    optimizers = []
    for model in models:
        base = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
        optimizers.append(pc.ProxOptimizer(base, model, "rpc"))
    latent = latent_weight(models[1][2]).requires_grad_()
    optimizers[1].add_param_group({"params": [latent]})
    for model, optimizer in zip(models, optimizers, strict=True):
        train(model, optimizer)
    assert same(*models)


def test_step_size_is_that_of_the_latents_group() -> None:
    """The prox of pq is as strong as the step size of the group that the latent is in."""
    model = network()
    pc.MuSchedule(model, "constant", start=3.0)
    groups = pc.param_groups(model, lr=0.5, latent_lr=0.01)
    optimizer = pc.ProxOptimizer(torch.optim.SGD(groups), model, "pq")
    latent = latent_weight(model[2])
    scale = model[2].parametrizations.weight[0].latent_scale
    with torch.no_grad():
        latent.copy_(0.25 * scale * latent.sign())
    before = latent.detach().clone()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    expected = before.sign() * torch.minimum(before.abs() + 0.01 * 3.0, scale)
    torch.testing.assert_close(latent.detach(), expected)


@pytest.mark.parametrize("rule", RULES)
def test_resumes_exactly(rule: str) -> None:
    def make(model: nn.Module) -> tuple[pc.ProxOptimizer, Any, pc.MuSchedule]:
        base = torch.optim.AdamW(pc.param_groups(model, lr=0.01))
        optimizer = pc.ProxOptimizer(base, model, rule)
        rates = torch.optim.lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.5)
        return optimizer, rates, pc.MuSchedule(model, "linear", start=1, end=3, steps=8)

    def run(model: nn.Module, parts: tuple[Any, ...], steps: range) -> None:
        for step in steps:
            train(model, parts[0], range(step, step + 1))
            parts[1].step()
            parts[2].step()

    straight = network()
    parts = make(straight)
    run(straight, parts, range(8))
    first, second = network(), network()
    parts = make(first)
    run(first, parts, range(5))
    saved = copy.deepcopy([first.state_dict(), *(part.state_dict() for part in parts)])
    second.load_state_dict(saved[0])
    parts = make(second)
    for part, state in zip(parts, saved[1:], strict=True):
        part.load_state_dict(state)
    run(second, parts, range(5, 8))
    assert same(straight, second)


def test_state_of_another_rule_is_refused() -> None:
    model = network()
    states = {
        rule: pc.ProxOptimizer(torch.optim.SGD(model.parameters(), lr=0.1), model, rule).state_dict()
        for rule in RULES
    }
    bare = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer = pc.ProxOptimizer(torch.optim.SGD(model.parameters(), lr=0.2), model, "pq")
    for state in (states["rpc"], bare.state_dict()):
        with pytest.raises(pc.ProxConnectError, match=r"under rule '(rpc|pc)', but this .* follows 'pq'"):
            optimizer.load_state_dict(state)
        assert optimizer.param_groups[0]["lr"] == 0.2
    optimizer.load_state_dict(states["pq"])
    assert optimizer.param_groups[0]["lr"] == 0.1
    bare.load_state_dict(states["pc"])
    pc.ProxOptimizer(torch.optim.SGD(model.parameters(), lr=0.2), model).load_state_dict(bare.state_dict())


@pytest.mark.parametrize("rule", RULES)
def test_deepcopy_trains_on_its_own(rule: str) -> None:
    model = network()
    optimizer = pc.ProxOptimizer(torch.optim.Adam(model.parameters(), lr=0.01), model, rule)
    train(model, optimizer, range(2))
    twin, twin_optimizer = copy.deepcopy((model, optimizer))
    train(model, optimizer, range(2, 4))
    assert not same(model, twin)
    train(twin, twin_optimizer, range(2, 4))
    assert same(model, twin)


def test_hooks_run_before_and_after_each_step() -> None:
    model = network()
    optimizer = pc.ProxOptimizer(torch.optim.SGD(model.parameters(), lr=0.1), model, "rpc")
    calls: list[str] = []
    optimizer.register_step_pre_hook(lambda *_: calls.append("before"))
    optimizer.register_step_post_hook(lambda *_: calls.append("after"))
    optimizer.base.register_step_pre_hook(lambda *_: calls.append("base"))
    optimizer.register_state_dict_pre_hook(lambda *_: calls.append("save"))
    optimizer.register_load_state_dict_post_hook(lambda *_: calls.append("load"))
    train(model, optimizer, range(1))
    optimizer.load_state_dict(optimizer.state_dict())
    assert calls == ["before", "base", "after", "save", "load"]


def test_latent_clipping_and_certificates_attach() -> None:
    model = network()
    optimizer = pc.ProxOptimizer(
        torch.optim.SGD(pc.param_groups(model, lr=10.0, latent_clip=1.0)), model, "rpc"
    )
    pc.clip_latents(optimizer, model)
    train(model, optimizer)
    quantizer = model[2].parametrizations.weight[0]
    assert quantizer.normalized(latent_weight(model[2])).abs().max() <= 1 + 1e-6


def test_learning_rate_schedulers() -> None:
    model = network()
    optimizer = pc.ProxOptimizer(torch.optim.SGD(model.parameters(), lr=1.0), model, "pq")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns where it sees no optimizer.step() before the scheduler's
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=4)
        for step in range(4):
            train(model, optimizer, range(step, step + 1))
            schedule.step()
    assert optimizer.base.param_groups[0]["lr"] == pytest.approx(0.0)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_gradient_scaler(rule: str, fused: bool) -> None:
    """Scaled training equals unscaled, with clipping; a step with an overflow changes nothing at all."""

    def make(model: nn.Module) -> pc.ProxOptimizer:
        return pc.ProxOptimizer(torch.optim.Adam(model.parameters(), lr=0.01, fused=fused), model, rule)

    models = [network(), network()]
    plain, scaled = (make(model) for model in models)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for step in range(3):
        plain.zero_grad()
        loss_of(models[0], step).backward()
        nn.utils.clip_grad_norm_(models[0].parameters(), 0.1)
        plain.step()
        scaled.zero_grad()
        scaler.scale(loss_of(models[1], step)).backward()
        scaler.unscale_(scaled)
        nn.utils.clip_grad_norm_(models[1].parameters(), 0.1)
        scaler.step(scaled)
        scaler.update()
    for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    before = copy.deepcopy((models[1], scaled.state_dict()["state"]))
    scaled.zero_grad()
    scaler.scale(loss_of(models[1], 3)).backward()
    models[1][0].weight.grad[0, 0] = float("inf")
    scaler.step(scaled)
    scaler.update()
    assert same(models[1], before[0])
    for key, state in scaled.state_dict()["state"].items():
        assert same_tensors(state, before[1][key])
    assert scaler.get_scale() == 2.0**9


def test_refuses_what_is_not_an_optimizer_of_the_model() -> None:
    model = network()
    base = torch.optim.SGD(model.parameters(), lr=0.1)
    for wrong, name in ((torch.optim.SGD, "type"), (pc.ProxOptimizer(base, model), "ProxOptimizer")):
        with pytest.raises(pc.ProxConnectError, match=f"base must be a torch optimizer .*, not {name}"):
            pc.ProxOptimizer(wrong, model)  # type: ignore[arg-type]
    with pytest.raises(pc.ProxConnectError, match="needs a model with binarized layers; call binarize_"):
        pc.ProxOptimizer(base, nn.Linear(2, 2))
    rest = torch.optim.SGD(model[0].parameters(), lr=0.1)
    with pytest.raises(pc.ProxConnectError, match=r"does not hold the latent weight '2\.weight'"):
        pc.ProxOptimizer(rest, model)
