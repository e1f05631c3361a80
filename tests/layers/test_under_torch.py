"""What torch does to models: compile, autocast, checkpoint, average, copy, move, and store."""

from __future__ import annotations

import copy
import shutil

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import proxconnect as pc
from proxconnect.layers import binarized_weights

METHODS = [
    "bnn++",
    *(pytest.param(name, marks=pytest.mark.full) for name in pc.methods() if name not in ("fp", "bnn++")),
]


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
@pytest.mark.parametrize("method", METHODS)
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
@pytest.mark.parametrize("method", METHODS)
def test_trains_under_autocast(method: str, dtype: torch.dtype) -> None:
    model = network(method)
    with torch.autocast("cpu", dtype):
        output = model(X)
    assert output.dtype == dtype
    assert all(torch.isfinite(gradient).all() for gradient in gradients(model, output.float()))
    assert all(found.latent.dtype == torch.float32 for found in binarized_weights(model))


@pytest.mark.parametrize("method", METHODS)
def test_gradient_checkpointing_changes_nothing(method: str) -> None:
    model = network(method)
    again = gradients(model, checkpoint(model, X, use_reentrant=False))
    assert all(map(torch.equal, again, gradients(model, model(X))))


@pytest.mark.parametrize("method", METHODS)
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


@pytest.mark.parametrize("scale", ["channel", pytest.param(3, marks=pytest.mark.full)])
@pytest.mark.parametrize("method", METHODS)
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
