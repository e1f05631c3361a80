"""The context of a plain training loop: what it moves, what it notices, and how it goes on."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from looking import every, same_tensors
from torch import Tensor, nn

import proxconnect as pc
from proxconnect.layers import activation_quantizers, binarized_weights
from proxconnect.optim import Schedule, TrainingRun, default_schedule, learning_rate_factor

STEPS = 20


def network(config: pc.BinarizeConfig | None = None) -> nn.Sequential:
    torch.manual_seed(0)
    layers = nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Linear(6, 2)
    return pc.binarize_(nn.Sequential(*layers), config or pc.BinarizeConfig("bnn++"))


def adam(model: nn.Module, **options: Any) -> torch.optim.Adam:
    return torch.optim.Adam(pc.param_groups(model, lr=0.01, latent_lr_relative=True, **options))


def take_steps(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> Iterator[int]:
    for step in steps:
        inputs = torch.randn(16, 4, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        (model(inputs) - 1).square().mean().backward()
        optimizer.step()
        yield step


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = STEPS) -> None:
    for _ in take_steps(model, optimizer, range(steps)):
        pass


def test_the_context_does_what_the_parts_do_by_hand() -> None:
    model, by_hand = network(), network()
    with pc.training(model, (optimizer := adam(model, latent_clip=1.1)), steps=STEPS) as run:
        train(model, optimizer)
    assert (run.count, run.mu) == (STEPS, 300)

    optimizer = adam(by_hand, latent_clip=1.1)
    pc.clip_latents(optimizer, by_hand)
    schedule = pc.MuSchedule(by_hand, default_schedule("bnn++"), steps=STEPS, fraction=0.85)
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_factor(step, STEPS))
    for _ in take_steps(by_hand, optimizer, range(STEPS)):
        schedule.step()
        rates.step()
    assert same_tensors(model.state_dict(), by_hand.state_dict())


def test_rates_are_given_back_and_may_be_left_alone() -> None:
    model = network()
    optimizer = adam(model)
    before = [group["lr"] for group in optimizer.param_groups]
    seen = []
    with pc.training(model, optimizer, steps=STEPS):
        for _ in take_steps(model, optimizer, range(STEPS)):
            seen.append(optimizer.param_groups[0]["lr"])
    assert [group["lr"] for group in optimizer.param_groups] == before
    assert max(seen) == before[0]
    assert seen[-1] == 0
    with pc.training(model, optimizer, steps=STEPS, lr_curve=False):
        for _ in take_steps(model, optimizer, range(STEPS)):
            assert [group["lr"] for group in optimizer.param_groups] == before


def test_rates_that_are_tensors_move_too() -> None:
    model = network()
    optimizer = torch.optim.Adam(pc.param_groups(model, lr=0.01), lr=torch.tensor(0.01), capturable=False)
    for group in optimizer.param_groups:
        group["lr"] = torch.tensor(0.01)
    rate = optimizer.param_groups[0]["lr"]
    with pc.training(model, optimizer, steps=STEPS):
        assert rate.item() == pytest.approx(0.01 * learning_rate_factor(0, STEPS))
        train(model, optimizer, 10)
        assert rate.item() == pytest.approx(0.01 * learning_rate_factor(10, STEPS))
        train(model, optimizer, 10)
    assert rate.item() == pytest.approx(0.01)


def interrupted(run: TrainingRun, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    with run:
        train(model, optimizer, 8)
        raise KeyboardInterrupt


def test_a_run_that_is_interrupted_goes_on_as_if_it_had_not_been() -> None:
    whole, part = network(), network()
    with pc.training(whole, (optimizer := adam(whole)), steps=STEPS):
        train(whole, optimizer)

    first = adam(part)
    run = pc.training(part, first, steps=STEPS)
    with pytest.raises(KeyboardInterrupt):
        interrupted(run, part, first)
    saved = part.state_dict(), first.state_dict(), run.state_dict()
    resumed = network()
    second = adam(resumed)
    with pc.training(resumed, second, steps=STEPS) as run:
        resumed.load_state_dict(saved[0])
        second.load_state_dict(saved[1])
        run.load_state_dict(saved[2])
        for _ in take_steps(resumed, second, range(8, STEPS)):
            pass
    assert same_tensors(whole.state_dict(), resumed.state_dict())
    assert second.param_groups[0]["lr"] == 0.01


def test_activations_have_a_schedule_of_their_own() -> None:
    model = network(pc.BinarizeConfig.from_setting("bwa", activations="ede"))
    with pc.training(model, (optimizer := adam(model)), steps=STEPS):
        train(model, optimizer)
    found = [quantizer.mu.item() for _, _, quantizer in activation_quantizers(model)]
    assert found
    assert every(mu == 10 for mu in found)


def test_batchnorm_is_that_of_the_hardened_network() -> None:
    model = network()
    inputs = torch.randn(64, 4)
    with pc.training(model, (optimizer := adam(model)), steps=STEPS, recalibrate=[inputs]):
        train(model, optimizer)
    hardened = pc.recalibrate_(pc.harden_(copy.deepcopy(model)), [inputs])
    for norm in (1, 3):
        assert same_tensors(model[norm].state_dict(), hardened[norm].state_dict())
    assert model.training
    assert [found.name for found in binarized_weights(model)] == ["2.weight"]  # training may go on


def test_the_statistics_count_flips_since_the_last_time() -> None:
    model = network()
    optimizer = adam(model, latent_lr=0.3)
    with pc.training(model, optimizer, steps=STEPS) as run:
        train(model, optimizer, 10)
        latent = next(binarized_weights(model)).latent
        statistics = run.statistics()
        assert statistics["step"] == 10
        assert 0 < statistics["flip_rate"] < 1
        assert "flip_rate" not in run.statistics()
        train(model, optimizer, 1)
        with torch.no_grad():
            latent.neg_()
        assert run.statistics()["flip_rate"] > 0.9
        train(model, optimizer, 9)
        line = run.report(train_loss=float("nan"))
        numbers = r"loss nan \(alarm\)  mu 300  flips \d+\.\d\d%  binary \d+\.\d%"
        assert re.fullmatch(rf"step 20/20  {numbers}\nalarm: loss nan: .*", line)
    assert statistics["level_distance"] > run.statistics()["level_distance"]


def test_a_loop_that_is_too_short_is_noticed() -> None:
    model = network()
    with (
        pytest.warns(UserWarning, match=r"training ended after 9 of the 20 steps of pc\.training, at mu "),
        pc.training(model, (optimizer := adam(model)), steps=STEPS),
    ):
        train(model, optimizer, 9)


def test_weights_that_end_far_from_their_levels_are_noticed() -> None:
    model = network()
    with (
        pytest.warns(UserWarning, match="hardening changes the weights of 1 of 1 layers"),
        pc.training(model, (optimizer := adam(model)), steps=STEPS, schedule=Schedule("constant", 1)),
    ):
        train(model, optimizer)


def test_a_loop_that_is_too_long_is_refused() -> None:
    model = network()
    with (
        pytest.raises(pc.ProxConnectError, match="after the 20 steps of its mu schedule"),
        pc.training(model, (optimizer := adam(model)), steps=STEPS),
    ):
        train(model, optimizer, STEPS + 1)
    assert optimizer.param_groups[0]["lr"] == 0.01
    train(model, optimizer, 3)  # no hook is left


def test_proximal_optimizers_have_the_schedule_of_their_rule() -> None:
    model = network(pc.BinarizeConfig("bc"))
    optimizer = pc.ProxOptimizer(adam(model), model, rule="pq")
    with pc.training(model, optimizer, steps=STEPS) as run:
        assert run.mu == 0
        train(model, optimizer)
    assert run.mu == 10


def test_one_schedule_has_to_suit_all_layers() -> None:
    def mixed(first: str, second: str) -> nn.Module:
        layers = nn.Sequential(*(nn.Linear(4, 4) for _ in range(2)))
        return pc.binarize_(layers, {"0": pc.BinarizeConfig(first), "1": pc.BinarizeConfig(second)})

    model = mixed("bc", "bnn++")
    assert pc.training(model, adam(model), steps=STEPS)._schedules["weights"].end == 300
    model = mixed("ede", "bnn++")
    with pytest.raises(pc.ProxConnectError, match=r"want different schedules \(ede.*; give schedule="):
        pc.training(model, adam(model), steps=STEPS)
    pc.training(model, adam(model), steps=STEPS, schedule=default_schedule("ede"))


def test_bad_input_is_refused() -> None:
    model = network()
    optimizer = adam(model)
    for steps in (0, -1, 2.5, True, "20"):
        with pytest.raises(pc.ProxConnectError, match=f"steps must be the number .*, not {steps!r}"):
            pc.training(model, optimizer, steps=steps)  # type: ignore[arg-type]
    with pytest.raises(pc.ProxConnectError, match="needs a model with binarized layers"):
        pc.training(nn.Linear(2, 2), optimizer, steps=STEPS)
    bare = pc.binarize_(nn.Sequential(*(nn.Linear(4, 4) for _ in range(3))), pc.BinarizeConfig())
    with pytest.raises(pc.ProxConnectError, match=r"does not hold the latent weight '1\.weight'"):
        pc.training(bare, torch.optim.Adam(bare[2].parameters()), steps=STEPS)
    with pytest.raises(pc.ProxConnectError, match="no BatchNorm to recalibrate"):
        pc.training(bare, adam(bare), steps=STEPS, recalibrate=[torch.randn(2, 4)])
    with pc.training(model, optimizer, steps=STEPS) as run:
        with pytest.raises(pc.ProxConnectError, match="under way"):
            run.__enter__()
        state = {**run.state_dict(), "steps": 19}
        with pytest.raises(pc.ProxConnectError, match="a training of 19 steps"):
            run.load_state_dict(state)
        train(model, optimizer)


def tanh_pair(slope: float) -> pc.ForwardBackward:
    return pc.ForwardBackward(lambda w, mu: torch.tanh(slope * mu * w), name="soft sign")


def test_a_pair_of_ones_own_closes_as_bnn_plus_plus_does() -> None:
    once, tenfold = default_schedule(tanh_pair(1.0)), default_schedule(tanh_pair(10.0))
    assert once.kind == tenfold.kind == "late"
    assert once.start == pytest.approx(10 * tenfold.start, rel=0.1)
    assert once.end == pytest.approx(10 * (tenfold.end or 0), rel=0.1)
    twin = pc.method("bnn++")
    found = default_schedule(pc.ForwardBackward(twin.forward, twin.backward, name="twin"))
    assert found == ("late", 1, 300)


def sign(w: Tensor, mu: Tensor) -> Tensor:
    return torch.where(w >= 0, 1.0, -1.0)


def test_a_sign_forward_has_a_schedule_only_where_its_slope_has_a_sharpness() -> None:
    sharpening = pc.ForwardBackward(sign, lambda w, mu: 1 / (1 + (mu * w).square()), name="mine")
    still = pc.ForwardBackward(sign, lambda w, mu: torch.ones_like(w), name="mine")
    assert default_schedule(sharpening) == ("exponential", 1, 10)
    assert default_schedule(still) == ("constant", 1, None)


def test_a_forward_map_that_does_not_close_has_no_schedule() -> None:
    fading = pc.ForwardBackward(lambda w, mu: torch.atan(mu * w) / mu, name="fading")
    with pytest.raises(pc.ProxConnectError, match="'fading' does not approach -1 and 1 as mu grows"):
        default_schedule(fading)


def test_a_schedule_is_taken_whole() -> None:
    model = network()
    schedule = pc.MuSchedule(model, default_schedule("ede"), steps=10)
    assert (schedule.kind, schedule.start, schedule.end) == ("ede", 0.1, 10)
    with pytest.raises(pc.ProxConnectError, match="has a start and an end: leave start=3 and end=None out"):
        pc.MuSchedule(model, default_schedule("ede"), start=3, steps=10)
