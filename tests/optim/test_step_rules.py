"""ProxOptimizer with plain SGD takes the steps of the literal reference rules."""

from __future__ import annotations

import copy
from collections.abc import Callable

import literal_rules as reference
import pytest
import torch
from all_maps import METHODS
from looking import every
from torch import Tensor, nn

import proxconnect as pc
from proxconnect.layers import latent_weight
from proxconnect.optim import RULES, fitting_methods
from proxconnect.quantizers import w_shaped

SIGN_PAIRS = ("bc", "bnn", "bnn+", "poly", "ede", "reste")
CASES = [
    *(("pc", name) for name in (*SIGN_PAIRS, "bnn++", "hardtanh", "ede+", "reste+", "pc", "parq")),
    *(("rpc", name) for name in ("bc", "pc", "binary-relax", "parq")),
    ("pq", "bc"),
    ("fp", "bc"),
    ("fp", "bnn++"),
]
ETA = 0.125  # a power of two: torch fuses the product eta g into the subtraction, which then rounds alike


def least_squares() -> nn.Sequential:
    return nn.Sequential(nn.Linear(5, 3, bias=False))


def network() -> nn.Sequential:
    model = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 6, bias=False), nn.Tanh(), nn.Linear(6, 3))
    model[0].requires_grad_(False)
    model[4].requires_grad_(False)
    return model


def loss_of(outputs: Tensor) -> Tensor:
    target = torch.linspace(-1, 1, outputs.numel(), dtype=outputs.dtype).reshape(outputs.shape)
    return (outputs - target).square().mean()


def inputs() -> Tensor:
    return torch.randn(8, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("make", [least_squares, network])
@pytest.mark.parametrize(("rule", "name"), CASES)
def test_fifty_steps_equal_the_reference(rule: str, name: str, make: Callable[[], nn.Sequential]) -> None:
    torch.manual_seed(0)
    plain = make().double()
    place = "0" if make is least_squares else "2"
    model, x = copy.deepcopy(plain), inputs()
    pc.binarize_(model, pc.BinarizeConfig(name, scale=None), filter_fn=lambda module, fqn: fqn == place)
    module = model.get_submodule(place)
    quantizer, pair = module.parametrizations.weight[0], pc.method(name)
    latents = [p for p in model.parameters() if p.requires_grad]
    optimizer = pc.ProxOptimizer(torch.optim.SGD(latents, lr=ETA), model, rule)
    schedule = pc.MuSchedule(model, "linear", start=0 if rule == "pq" else 1, end=3, steps=50)

    def gradient(w: Tensor) -> Tensor:
        w = w.detach().requires_grad_()
        loss = loss_of(torch.func.functional_call(plain, {f"{place}.weight": w}, x))
        return torch.autograd.grad(loss, w)[0]

    w = latent_weight(module).detach().clone()
    for _ in range(50):
        mu = quantizer.mu.item()
        if rule == "pc":
            w = reference.pc(w, gradient, ETA, pair.forward, pair.backward, mu)
        elif rule == "rpc":
            w = reference.rpc(w, gradient, ETA, pair.forward, mu)
        elif rule == "pq":
            w = reference.pq(w, gradient, ETA, w_shaped(), mu).clamp(-1, 1)
        else:
            w = reference.fp(w, gradient, ETA)
        optimizer.zero_grad()
        loss_of(model(x)).backward()
        optimizer.step()
        schedule.step()
        if name in SIGN_PAIRS and rule == "pc":
            assert torch.equal(latent_weight(module), w)
        torch.testing.assert_close(latent_weight(module).detach(), w, rtol=1e-12, atol=1e-12)
    assert not torch.equal(w, plain.get_submodule(place).weight)


def test_rules_act_on_normalised_values() -> None:
    """Scaling weights, step size and gradient together scales every rule's steps."""
    size = 0.03125  # a power of two scales without rounding
    for rule, name in (("pc", "bnn++"), ("rpc", "pc"), ("pq", "bc"), ("fp", "bc")):
        latents = []
        for factor in (1.0, size):
            torch.manual_seed(0)
            model = nn.Linear(6, 4, bias=False).double()
            with torch.no_grad():
                model.weight.mul_(factor)
            pc.binarize_(model, pc.BinarizeConfig(name), filter_fn=lambda module, fqn: True)
            groups = pc.param_groups(model, lr=0.05, latent_lr_relative=True)
            optimizer = pc.ProxOptimizer(torch.optim.Adam(groups, eps=0), model, rule)
            for _ in range(10):
                optimizer.zero_grad()
                loss_of(model(torch.eye(6, dtype=torch.float64)) / factor).backward()
                optimizer.step()
            latents.append(latent_weight(model).detach() / factor)
        torch.testing.assert_close(*latents, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("rule", RULES)
def test_what_the_layers_compute_with(rule: str) -> None:
    """Train and eval compute the same, except under fp and rpc."""
    torch.manual_seed(0)
    model = pc.binarize_(nn.Linear(6, 4), pc.BinarizeConfig("bc"), filter_fn=lambda module, fqn: True)
    quantized, latent = model.weight.detach().clone(), latent_weight(model).detach().clone()
    pc.ProxOptimizer(torch.optim.SGD(model.parameters(), lr=0.1), model, rule)
    training = quantized if rule == "pc" else latent
    evaluation = latent if rule == "pq" else quantized
    assert torch.equal(model.train().weight, training)
    assert torch.equal(model.eval().weight, evaluation)
    assert torch.equal(copy.deepcopy(model).weight, evaluation)


def test_proxquant_ends_at_the_levels_and_keeps_its_function_when_hardened() -> None:
    torch.manual_seed(0)
    model = pc.binarize_(nn.Linear(6, 4), pc.BinarizeConfig("bc"), filter_fn=lambda module, fqn: True)
    groups = pc.param_groups(model, lr=0.01, latent_lr_relative=True)
    optimizer = pc.ProxOptimizer(torch.optim.Adam(groups), model, "pq")
    schedule = pc.MuSchedule(model, "linear", start=0, end=10, steps=60)
    x = torch.randn(16, 6)
    for _ in range(60):
        optimizer.zero_grad()
        loss_of(model(x)).backward()
        optimizer.step()
        schedule.step()
    quantizer = model.parametrizations.weight[0]
    torch.testing.assert_close(model.weight.abs(), quantizer.latent_scale.expand(4, 6))
    before = model(x)
    torch.testing.assert_close(pc.harden_(model)(x), before, rtol=1e-2, atol=1e-2)


def test_a_latent_without_gradient_takes_no_step() -> None:
    for rule in RULES:
        model = pc.binarize_(
            nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)]), pc.BinarizeConfig("bc"), lambda *_: True
        )
        optimizer = pc.ProxOptimizer(torch.optim.SGD(model.parameters(), lr=0.1), model, rule)
        pc.MuSchedule(model, "constant", start=1.0)
        before = [latent_weight(module).detach().clone() for module in model]
        model[0](torch.ones(2, 3)).square().sum().backward()
        optimizer.step()
        assert not torch.equal(latent_weight(model[0]), before[0])
        assert torch.equal(latent_weight(model[1]), before[1])


def test_tied_latents_take_one_step() -> None:
    for rule in ("rpc", "pq"):
        steps = []
        for layers in (1, 2):
            torch.manual_seed(0)
            model = pc.binarize_(
                nn.ModuleList([nn.Linear(3, 3, bias=False)]), pc.BinarizeConfig("bc"), lambda *_: True
            )
            model.extend([model[0]] * (layers - 1))
            base = torch.optim.SGD(model.parameters(), lr=0.1)
            optimizer = pc.ProxOptimizer(base, model, rule)
            model[0](torch.ones(2, 3)).square().sum().backward()
            optimizer.step()
            steps.append(latent_weight(model[0]).detach().clone())
        assert torch.equal(*steps)


@pytest.mark.parametrize(
    ("rule", "name", "words"),
    [
        ("rcp", "bc", "unknown rule 'rcp'; did you mean 'rpc'"),
        (
            "rpc",
            "bnn++",
            "rule 'rpc' takes a method whose forward .* not 'bnn\\+\\+'; .* bc, pc, binary-relax, parq",
        ),
        ("rpc", "hardtanh", "not 'hardtanh'"),
        ("pq", "pc", "rule 'pq' takes the projector onto the levels.*, not 'pc'; methods that fit: bc"),
    ],
)
def test_refuses_a_rule_that_does_not_fit(rule: str, name: str, words: str) -> None:
    model = pc.binarize_(nn.Linear(3, 3), pc.BinarizeConfig(name), filter_fn=lambda module, fqn: True)
    base = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(pc.ProxConnectError, match=words):
        pc.ProxOptimizer(base, model, rule)
    assert model.parametrizations.weight[0].rule == "pc"


def test_rules_take_pairs_of_ones_own() -> None:
    stairs = pc.ForwardBackward(lambda w, mu: (2 * w).round() / 2, lambda w, mu: torch.ones_like(w), "stairs")
    falling = pc.ForwardBackward(lambda w, mu: -w, lambda w, mu: torch.ones_like(w), "falling")
    model = pc.binarize_(nn.Linear(3, 3), pc.BinarizeConfig(stairs), filter_fn=lambda module, fqn: True)
    pc.ProxOptimizer(torch.optim.SGD(model.parameters(), lr=0.1), model, "rpc")
    model = pc.binarize_(nn.Linear(3, 3), pc.BinarizeConfig(falling), filter_fn=lambda module, fqn: True)
    with pytest.raises(pc.ProxConnectError, match="not 'falling'"):
        pc.ProxOptimizer(torch.optim.SGD(model.parameters(), lr=0.1), model, "rpc")


def test_every_method_has_a_rule_and_every_rule_a_method() -> None:
    assert fitting_methods("pc") == fitting_methods("fp") == METHODS
    assert every(fitting_methods(rule) for rule in RULES)
