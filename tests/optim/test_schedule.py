"""The sharpness over training."""

from __future__ import annotations

import math
from collections.abc import Callable

import literal_rules as reference
import pytest
import torch
from all_maps import METHODS
from torch import nn

import proxconnect as pc
from proxconnect.layers import activation_quantizers, binarized_weights
from proxconnect.optim import RULES, SCHEDULES, CumulativeSchedule, default_method, default_schedule


def model() -> nn.Sequential:
    return pc.binarize_(nn.Sequential(*(nn.Linear(3, 3) for _ in range(4))), pc.BinarizeConfig())


def mus(network: nn.Module) -> set[float]:
    return {quantizer.mu.item() for _, _, _, quantizer in binarized_weights(network)}


@pytest.mark.parametrize(
    ("kind", "end", "expected"),
    [
        ("constant", None, [2.0, 2.0, 2.0, 2.0]),
        ("linear", 8, [2.0, 5.0, 8.0, 8.0]),
        ("exponential", 8, [2.0, 4.0, 8.0, 8.0]),
        ("ede", 8, [2.0, 4.0, 8.0, 8.0]),
        ("cosine", 8, [2.0, 5.0, 8.0, 8.0]),
        ("reste", 8, [2.0, 2 + 6 * (1 - math.sqrt(0.5)), 8.0, 8.0]),
        ("parq", 8, [2.0, 3.2, 8.0, 8.0]),
    ],
)
def test_moves_every_layer_and_stays_at_the_end(kind: str, end: float | None, expected: list[float]) -> None:
    network = model()
    schedule = pc.MuSchedule(network, kind, start=2, end=end, steps=4, fraction=0.5)
    seen = []
    for _ in expected:
        assert mus(network) == {torch.tensor(schedule.mu).item()}
        seen.append(schedule.mu)
        schedule.step()
    assert seen == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("kind", [kind for kind in SCHEDULES if kind != "constant"])
@pytest.mark.parametrize(("start", "end"), [(1.0, 1000.0), (5.0, 0.5)])
def test_every_form_runs_from_start_to_end_and_never_back(kind: str, start: float, end: float) -> None:
    values = [SCHEDULES[kind](start, end, i / 100) for i in range(101)]
    assert (values[0], values[-1]) == (pytest.approx(start, rel=1e-12), pytest.approx(end, rel=1e-12))
    assert values == sorted(values, reverse=end < start)


def test_forms_of_the_papers() -> None:
    """IR-Net's t, ReSTE's o and PARQ's slope parameter, as their sources write them."""
    steps = 50
    for i in range(steps + 1):
        p = i / steps
        assert SCHEDULES["ede"](0.1, 10, p) == pytest.approx(10 ** (-1 + 2 * p), rel=1e-12)
        o = 1 + (1 - math.cos(math.pi * i / (2 * steps))) * (3 - 1)
        assert SCHEDULES["reste"](1, 3, p) == pytest.approx(o, rel=1e-12)
        high, low = 1 / (1 + math.exp(-5)), 1 / (1 + math.exp(5))
        slope = (1 / (1 + math.exp(10 * (p - 0.5))) - low) / (high - low)
        assert 1 / SCHEDULES["parq"](1, 1e300, p) == pytest.approx(slope, rel=1e-12, abs=1e-12)


def test_a_strength_may_start_at_zero() -> None:
    for kind in ("linear", "cosine", "reste"):
        assert pc.MuSchedule(model(), kind, start=0, end=2, steps=2).mu == 0.0


def test_a_constant_sharpness_needs_no_steps() -> None:
    network = model()
    schedule = pc.MuSchedule(network, "constant", start=3)
    schedule.check_finished()
    for _ in range(3):
        schedule.step()
    assert mus(network) == {3.0}


def test_training_that_is_longer_than_the_schedule_is_refused() -> None:
    network = model()
    schedule = pc.MuSchedule(network, "linear", start=1, end=3, steps=2)
    for _ in range(2):
        schedule.step()
    with pytest.raises(pc.ProxConnectError, match="training goes on after the 2 steps of its mu schedule"):
        schedule.step()
    assert mus(network) == {3.0}


def test_training_that_is_shorter_than_the_schedule_is_refused() -> None:
    schedule = pc.MuSchedule(model(), "linear", start=1, end=3, steps=10, fraction=0.8)
    for _ in range(7):
        schedule.step()
    with pytest.raises(pc.ProxConnectError, match=r"ended after 7 steps.* reaches 3 after 8: mu is 2\.75"):
        schedule.check_finished()
    schedule.step()
    schedule.check_finished()


def test_resumes_where_it_stood() -> None:
    first, second = model(), model()
    schedule = pc.MuSchedule(first, "exponential", start=1, end=60, steps=100)
    for _ in range(37):
        schedule.step()
    resumed = pc.MuSchedule(second, "exponential", start=1, end=60, steps=100)
    resumed.load_state_dict(schedule.state_dict())
    for each in (schedule, resumed):
        each.step()
    assert mus(first) == mus(second) == {torch.tensor(schedule.mu).item()}


@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        ("exponentail", {"end": 2}, "unknown schedule 'exponentail'; did you mean 'exponential'"),
        ("linear", {}, "a linear schedule takes an end, got None"),
        ("constant", {"end": 2}, "a constant schedule takes no end, got 2"),
        ("linear", {"end": 0}, "end must be a positive number, not 0"),
        ("linear", {"start": float("nan"), "end": 1}, "start must be a positive number, not nan"),
        ("exponential", {"end": 2, "start": 0}, "start must be a positive number, not 0"),
        ("linear", {"end": 2, "start": -1}, "start must be a positive number, not -1"),
        ("linear", {"end": 2}, "a linear schedule takes steps, the number of all training steps"),
        ("linear", {"end": 2, "steps": 0}, "steps must be at least 1, not 0"),
        ("linear", {"end": 2, "steps": 2, "fraction": 1.5}, "fraction is a share of the steps.*, not 1.5"),
        (
            "linear",
            {"end": 2, "steps": 2, "of": "weight"},
            "of must be 'weights' or 'activations', not 'weight'",
        ),
    ],
)
def test_refuses(kind: str, values: dict[str, float], words: str) -> None:
    with pytest.raises(pc.ProxConnectError, match=words):
        pc.MuSchedule(model(), kind, **values)  # type: ignore[arg-type]


def test_refuses_a_model_without_latents() -> None:
    with pytest.raises(pc.ProxConnectError, match="needs a model with binarized layers"):
        pc.MuSchedule(nn.Linear(2, 2), "constant", start=1)


def test_refuses_a_state_of_a_longer_schedule() -> None:
    schedule = pc.MuSchedule(model(), "linear", start=1, end=3, steps=5)
    with pytest.raises(pc.ProxConnectError, match="the state counts 6 steps, but this schedule has 5"):
        schedule.load_state_dict({"count": 6})
    assert schedule.count == 0


def relaxed() -> nn.Sequential:
    layers = nn.Sequential(*(nn.Linear(3, 3) for _ in range(4)))
    return pc.binarize_(layers, pc.BinarizeConfig("binary-relax"))


def test_cumulative_strength_is_one_plus_the_step_sizes() -> None:
    """Each layer sums the step sizes of its own group, before and after a resumption."""
    network = relaxed()
    groups = pc.param_groups(network, lr=0.5, latent_lr_relative=True)
    optimizer = torch.optim.SGD(groups)
    rates = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    schedule = CumulativeSchedule(network, optimizer)
    quantizers = [found.quantizer for found in binarized_weights(network)]
    expected = [
        list(reference.pc_strengths(0.5 * q.latent_scale.mean().item() * 0.5**k for k in range(4)))
        for q in quantizers
    ]
    for k in range(5):
        torch.testing.assert_close(
            torch.stack([q.mu for q in quantizers]), torch.tensor([strengths[k] for strengths in expected])
        )
        if k == 2:
            state = schedule.state_dict()
            schedule = CumulativeSchedule(network, optimizer)
            schedule.load_state_dict(state)
        optimizer.step()
        schedule.step()
        rates.step()


def test_cumulative_schedule_refuses() -> None:
    network = relaxed()
    with pytest.raises(pc.ProxConnectError, match="needs a model with binarized layers"):
        CumulativeSchedule(nn.Linear(2, 2), torch.optim.SGD(network.parameters(), lr=0.1))
    with pytest.raises(pc.ProxConnectError, match=r"does not hold the latent weight '1\.weight'"):
        CumulativeSchedule(network, torch.optim.SGD(network[0].parameters(), lr=0.1))
    schedule = CumulativeSchedule(network, torch.optim.SGD(network.parameters(), lr=0.1))
    with pytest.raises(pc.ProxConnectError, match=r"layers \['9'\], but the model has .*1\.weight"):
        schedule.load_state_dict({"mu": {"9": 1.0}})


def test_every_name_has_a_schedule_that_runs() -> None:
    names = [(name, "pc") for name in METHODS]
    for method, rule in [*names, *((default_method(rule), rule) for rule in RULES)]:
        kind, start, end = default_schedule(method, rule)
        network = pc.binarize_(nn.Linear(3, 3), pc.BinarizeConfig(method), lambda *_: True)
        assert pc.MuSchedule(network, kind, start=start, end=end, steps=2).mu == pytest.approx(start)
    with pytest.raises(pc.ProxConnectError, match="unknown method 'bnn--'; did you mean 'bnn"):
        default_schedule("bnn--")
    with pytest.raises(pc.ProxConnectError, match="unknown rule 'pcc'; did you mean 'pc"):
        default_schedule("bc", "pcc")
    with pytest.raises(pc.ProxConnectError, match="unknown rule 'pcc'; did you mean 'pc"):
        default_method("pcc")


@pytest.mark.parametrize("rule", ["pq", "rpc"])
@pytest.mark.parametrize("use", [pc.method, pc.BinarizeConfig, default_schedule])
def test_a_rule_in_place_of_a_method_is_told_what_to_type(use: Callable[[str], object], rule: str) -> None:
    words = f"'{rule}' is a step rule, not a method: choose it with --rule {rule} .*rule='{rule}'"
    with pytest.raises(pc.ProxConnectError, match=words):
        use(rule)


CLOSING = ("pc", "binary-relax", "parq", "hardtanh", "bnn++", "bnn++m", "poly+", "ede+")


@pytest.mark.parametrize("name", CLOSING)
def test_default_schedules_close_onto_the_signs(name: str) -> None:
    latents = torch.randn(10_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    end = default_schedule(name).end
    assert end is not None
    away = (pc.method(name).forward(latents, end).abs() - 1).abs() > 0.01
    assert away.double().mean() < 0.03


def test_activations_have_a_schedule_of_their_own() -> None:
    network = nn.Sequential(*(nn.Linear(3, 3) for _ in range(4)))
    pc.binarize_(network, pc.BinarizeConfig("bc", activations="bnn"))
    schedule = pc.MuSchedule(network, "linear", start=2, end=3, steps=1, of="activations")
    schedule.step()
    assert mus(network) == {1.0}
    assert {quantizer.mu.item() for _, _, quantizer in activation_quantizers(network)} == {3.0}
    with pytest.raises(pc.ProxConnectError, match="needs a model with binarized activations"):
        pc.MuSchedule(model(), "constant", of="activations")


def test_late_grows_to_ten_and_then_closes() -> None:
    schedule = pc.MuSchedule(model(), "late", start=1, end=300, steps=9)
    seen = []
    for _ in range(9):
        schedule.step()
        seen.append(schedule.mu)
    assert seen == pytest.approx([10 ** (count / 8) for count in range(1, 9)] + [300])


@pytest.mark.parametrize(("start", "end"), [(0.5, 4.0), (20.0, 300.0)])
def test_late_stays_within_its_ends(start: float, end: float) -> None:
    schedule = pc.MuSchedule(model(), "late", start=start, end=end, steps=50)
    seen = [schedule.mu]
    for _ in range(50):
        schedule.step()
        seen.append(schedule.mu)
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == pytest.approx((start, end))
