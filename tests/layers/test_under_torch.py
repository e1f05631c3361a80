"""Binarized models under torch.compile, autocast, checkpoints, averaging, copies, moves and storage."""

from __future__ import annotations

import copy
import shutil
import warnings

import pytest
import torch
from all_maps import METHODS
from looking import every
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import proxconnect as pc
from proxconnect.layers import binarized_weights

EACH_METHOD = [name if name == "bnn++" else pytest.param(name, marks=pytest.mark.full) for name in METHODS]


def network(method: str = "bnn++") -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2)
    )
    return pc.binarize_(model, pc.BinarizeConfig(method))


def gradients(model: nn.Module, output: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(output.square().sum(), list(model.parameters())))


X = torch.linspace(-1, 1, 2 * 36).reshape(2, 1, 6, 6)


@pytest.mark.filterwarnings("error:Dynamo detected")  # a cached function: torch traces it anew, and says so
@pytest.mark.parametrize("method", EACH_METHOD)
def test_compiles_whole_and_once_as_mu_moves(method: str) -> None:
    model = network(method)
    schedule = pc.MuSchedule(model, "exponential", start=1, end=3, steps=3)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    for _ in range(3):
        expected = gradients(model, model(X))
        for found, wanted in zip(gradients(model, compiled(X)), expected, strict=True):
            torch.testing.assert_close(found, wanted)
        schedule.step()
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


@pytest.mark.full  # runs the C++ compiler
@pytest.mark.parametrize("setting", ["bw", "bwa"])
def test_inductor_compiles_whole_and_once_as_mu_moves(setting: str) -> None:
    if shutil.which("c++") is None and shutil.which("g++") is None:
        pytest.skip("no C++ compiler")
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(16, 8), nn.Linear(8, 2)
    model = pc.binarize_(nn.Sequential(*layers), pc.BinarizeConfig.from_setting(setting))
    schedule = pc.MuSchedule(model, "exponential", start=1, end=3, steps=3)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compiled = torch.compile(model, fullgraph=True)
    for _ in range(3):
        expected = gradients(model, model(X))
        for found, wanted in zip(gradients(model, compiled(X)), expected, strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
        schedule.step()
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, pytest.param(torch.float16, marks=pytest.mark.full)])
@pytest.mark.parametrize("method", EACH_METHOD)
def test_trains_under_autocast(method: str, dtype: torch.dtype) -> None:
    model = network(method)
    with torch.autocast("cpu", dtype):
        output = model(X)
    assert output.dtype == dtype
    assert every(torch.isfinite(gradient).all() for gradient in gradients(model, output.float()))
    assert every(found.latent.dtype == torch.float32 for found in binarized_weights(model))


@pytest.mark.parametrize("method", EACH_METHOD)
def test_gradient_checkpointing_changes_nothing(method: str) -> None:
    model = network(method)
    again = gradients(model, checkpoint(model, X, use_reentrant=False))
    assert every(map(torch.equal, again, gradients(model, model(X))))


@pytest.mark.parametrize("method", EACH_METHOD)
def test_averaged_models_average_latents(method: str) -> None:
    model = network(method)
    averaged = torch.optim.swa_utils.AveragedModel(model)
    averaged.update_parameters(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    pc.MuSchedule(model, "constant", start=5)
    averaged.update_parameters(model)
    (mean,), (last,) = binarized_weights(averaged), binarized_weights(model)
    torch.testing.assert_close(mean.latent, last.latent - 0.5)
    assert mean.quantizer.mu == 5
    assert pc.harden_(averaged)(X).shape == (2, 2)


def averaged_states(averaged: nn.Module, model: nn.Module) -> None:
    """Average states as timm's ModelEmaV2 does."""
    for mine, its in zip(averaged.state_dict().values(), model.state_dict().values(), strict=True):
        mine.copy_(0.9 * mine + 0.1 * its)


@pytest.mark.parametrize("schedule_first", [True, False])
@pytest.mark.parametrize("by_state", [True, False])
@pytest.mark.parametrize("of", ["weights", "activations"])
def test_hardening_notices_an_averaged_mu(of: str, by_state: bool, schedule_first: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(8, 8) for _ in range(4)))
    pc.binarize_(model, pc.BinarizeConfig.from_setting("bwa", method="bnn++"))
    growing = {"kind": "exponential", "start": 1, "end": 300, "steps": 20, "of": of}
    schedule = pc.MuSchedule(model, **growing) if schedule_first else None
    average = torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)
    averaged = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=average, use_buffers=True)
    schedule = schedule or pc.MuSchedule(model, **growing)
    averaged.n_averaged += 1  # an exponential average starts from what there is
    for _ in range(20):
        schedule.step()
        averaged_states(averaged.module, model) if by_state else averaged.update_parameters(model)
    with pytest.warns(UserWarning, match="mu of layer '1' is .*, which no schedule has set"):
        pc.harden_(copy.deepcopy(averaged.module))
    twin = pc.binarize_(
        nn.Sequential(*(nn.Linear(8, 8) for _ in range(4))),
        pc.BinarizeConfig.from_setting("bwa", method="bnn++"),
    )
    twin.load_state_dict(averaged.module.state_dict())
    with pytest.warns(UserWarning, match="which no schedule has set"):
        pc.harden_(twin)
    pc.MuSchedule(averaged, "constant", start=schedule.mu, of=of)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pc.harden_(model)
        pc.harden_(averaged)


def test_an_average_that_has_come_to_the_end_is_none() -> None:
    model = network()
    schedule = pc.MuSchedule(model, "exponential", start=1, end=300, steps=200, fraction=0.1)
    averaged = copy.deepcopy(model)
    for _ in range(200):
        schedule.step()
        averaged_states(averaged, model)
    (found,) = binarized_weights(averaged)
    assert found.quantizer.mu.item() == pytest.approx(300)
    assert not found.quantizer.has_averaged_mu()


def test_a_state_without_the_square_of_mu_loads() -> None:
    model = network()
    pc.MuSchedule(model, "constant", start=5)
    state = {name: tensor for name, tensor in model.state_dict().items() if not name.endswith("mu_squared")}
    other = network()
    pc.MuSchedule(other, "constant", start=7)
    other.load_state_dict(state)
    (found,) = binarized_weights(other)
    assert found.quantizer.mu == 5
    assert not found.quantizer.has_averaged_mu()
    moved = other.half()
    assert {found.quantizer.mu_squared.dtype for found in binarized_weights(moved)} == {torch.float32}


@pytest.mark.parametrize("scale", ["channel", pytest.param(3, marks=pytest.mark.full)])
@pytest.mark.parametrize("method", EACH_METHOD)
def test_copies_and_state_dicts_restore_everything(method: str, scale: str | int) -> None:
    config = pc.BinarizeConfig(method, scale=scale, learn_scale=True)
    builds = [nn.LSTM(3, 4), nn.LSTM(3, 4)]
    one, other = (pc.binarize_(layer, config, lambda module, name: True) for layer in builds)
    x = torch.randn(5, 2, 3)
    pc.MuSchedule(one, "constant", start=2)
    one(x)[0].sum().backward()
    twin = copy.deepcopy(one)
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(x)[0], other(x)[0])
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.mul_(-2)
    assert torch.equal(twin(x)[0], other(x)[0])
    assert not torch.equal(one(x)[0], other(x)[0])
    half = one.half()
    assert {found.quantizer.mu.dtype for found in binarized_weights(half)} == {torch.float32}
    assert half.weight_hh_l0.dtype == torch.float16
