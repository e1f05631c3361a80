"""The step rules beside torch's own tools: compilation, autocast, checkpointing, averaging."""

from __future__ import annotations

import copy

import pytest
import torch
from looking import every
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.checkpoint import checkpoint

import proxconnect as pc
from proxconnect.layers import latent_weight
from proxconnect.optim import RULES, fitting_methods

PAIRS = {"pc": "bnn++", "fp": "bnn++", "rpc": "pc", "pq": "bc"}
MATRIX = [(rule, name) for rule in RULES for name in fitting_methods(rule)]


def network(name: str) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 2))
    return pc.binarize_(model, pc.BinarizeConfig(name))


def optimizer_of(model: nn.Module, rule: str) -> pc.ProxOptimizer:
    return pc.ProxOptimizer(torch.optim.Adam(pc.param_groups(model, lr=0.01)), model, rule)


def loss_of(outputs: Tensor) -> Tensor:
    return (outputs - 1).square().mean()


def inputs(step: int) -> Tensor:
    return torch.randn(8, 4, generator=torch.Generator().manual_seed(step))


def close(a: nn.Module, b: nn.Module) -> None:
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-5)


def compiled_equals_eager(rule: str, name: str, *, step_too: bool) -> None:
    eager, model = network(name), network(name)
    torch.compiler.reset()
    counter = CompileCounterWithBackend("aot_eager")
    optimizers = [optimizer_of(each, rule) for each in (eager, model)]
    schedules = [pc.MuSchedule(each, "linear", start=1, end=3, steps=6) for each in (eager, model)]
    run = torch.compile(model, backend=counter, fullgraph=True)
    take = torch.compile(optimizers[1].step, backend=counter) if step_too else optimizers[1].step
    for i in range(6):
        for forward, step, optimizer, schedule in zip(
            (eager, run), (optimizers[0].step, take), optimizers, schedules, strict=True
        ):
            optimizer.zero_grad()
            loss_of(forward(inputs(i))).backward()
            step()
            schedule.step()
        if i == 2:
            frames = counter.frame_count
    assert counter.frame_count == frames >= 1 + step_too
    close(eager, model)
    torch.compiler.reset()


@pytest.mark.parametrize("rule", RULES)
def test_compiled_model_equals_eager_and_is_compiled_once(rule: str) -> None:
    compiled_equals_eager(rule, PAIRS[rule], step_too=False)


def test_compiled_step_equals_eager_and_is_compiled_once() -> None:
    compiled_equals_eager("rpc", "pc", step_too=True)


@pytest.mark.full
@pytest.mark.parametrize(("rule", "name"), MATRIX)
def test_compiled_training_of_every_method(rule: str, name: str) -> None:
    compiled_equals_eager(rule, name, step_too=True)


def autocast_trains(rule: str, name: str, dtype: torch.dtype) -> None:
    model = network(name)
    optimizer, scaler = optimizer_of(model, rule), torch.amp.GradScaler("cpu", enabled=dtype == torch.float16)
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=dtype):
            loss = loss_of(model(inputs(0)))
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert every(p.dtype == torch.float32 and p.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(("rule", "dtype"), [(r, d) for r in RULES for d in (torch.bfloat16, torch.float16)])
def test_autocast(rule: str, dtype: torch.dtype) -> None:
    autocast_trains(rule, PAIRS[rule], dtype)


@pytest.mark.full
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("rule", "name"), MATRIX)
def test_autocast_of_every_method(rule: str, name: str, dtype: torch.dtype) -> None:
    autocast_trains(rule, name, dtype)


@pytest.mark.parametrize("rule", RULES)
def test_gradient_checkpointing(rule: str) -> None:
    plain, model = network(PAIRS[rule]), network(PAIRS[rule])
    for each in (plain, model):
        optimizer = optimizer_of(each, rule)
        for i in range(3):
            optimizer.zero_grad()
            outputs = checkpoint(each, inputs(i), use_reentrant=False) if each is model else each(inputs(i))
            loss_of(outputs).backward()
            optimizer.step()
    assert every(torch.equal(p, q) for p, q in zip(plain.parameters(), model.parameters(), strict=True))


@pytest.mark.parametrize("rule", RULES)
def test_exponential_moving_average(rule: str) -> None:
    """The average is of the latents, and computes as the model itself would with them."""
    model = network(PAIRS[rule])
    optimizer = optimizer_of(model, rule)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.5))
    seen = []
    for i in range(3):
        optimizer.zero_grad()
        loss_of(model(inputs(i))).backward()
        optimizer.step()
        average.update_parameters(model)
        seen.append(latent_weight(model[2]).detach().clone())
    expected = seen[0].lerp(seen[1], 0.5).lerp(seen[2], 0.5)
    torch.testing.assert_close(latent_weight(average.module[2]).detach(), expected)
    twin = copy.deepcopy(model).eval()
    twin.load_state_dict(average.module.state_dict())
    assert torch.equal(twin(inputs(9)), average.eval()(inputs(9)))
