"""Binarized models under torch.func and forward mode: derivatives as in an ordinary backward pass."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.autograd.forward_ad as forward_ad
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp, vmap

import proxconnect as pc

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning"),
    pytest.mark.filterwarnings(
        "ignore:There is a performance drop:UserWarning"
    ),  # torch has no rule of its own
]


def conv() -> nn.Module:
    hidden = nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(8 * 4, 8)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), *hidden, nn.Linear(8, 3))


def perceptron() -> nn.Module:
    hidden = nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh()
    return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), *hidden, nn.Linear(16, 3))


MODELS = {"conv": (conv, (4, 3, 6, 6)), "perceptron": (perceptron, (4, 6))}
METHODS = ("bc", "bnn++", "hardtanh")


@pytest.mark.parametrize("values", [{}, {"learn_scale": True}], ids=str)
@pytest.mark.parametrize("setting", ["bw", "bwa", "bwaa"])
@pytest.mark.parametrize("kind", MODELS)
def test_derivatives_are_those_of_a_backward_pass(kind: str, setting: str, values: dict[str, Any]) -> None:
    build, shape = MODELS[kind]
    for method in METHODS:
        torch.manual_seed(0)
        model = pc.binarize_(build(), pc.BinarizeConfig.from_setting(setting, method=method, **values))
        check(model, torch.randn(shape))


def test_grouped_scales_and_a_pair_of_callables() -> None:
    torch.manual_seed(0)
    pair = pc.ForwardBackward(lambda w, mu: torch.tanh(mu * w))
    check(pc.binarize_(perceptron(), pc.BinarizeConfig(pair, scale=5)), torch.randn(4, 6))
    check(pc.binarize_(perceptron(), pc.BinarizeConfig("bnn++", scale=None)), torch.randn(4, 6))


def check(model: nn.Module, x: Tensor) -> None:
    parameters = dict(model.named_parameters())

    def loss(parameters: dict[str, Tensor], row: Tensor) -> Tensor:
        return functional_call(model, parameters, (row[None],)).square().sum()

    of_samples = vmap(grad(loss), (None, 0))(parameters, x)
    for i in range(len(x)):
        gradients = torch.autograd.grad(loss(parameters, x[i]), list(parameters.values()), allow_unused=True)
        for name, expected in zip(parameters, gradients, strict=True):
            close(of_samples[name][i], torch.zeros_like(parameters[name]) if expected is None else expected)

    tangents = {name: torch.randn_like(value) for name, value in parameters.items()}
    tx = torch.randn_like(x)
    y, ty = jvp(lambda p, x: functional_call(model, p, (x,)), (parameters, x), (tangents, tx))
    given, argument = torch.randn_like(y), x.clone().requires_grad_()
    output = model(argument)
    close(y, output)
    wanted = [argument, *parameters.values()]
    gradients = torch.autograd.grad(output, wanted, given, allow_unused=True)
    pairs = zip(gradients, [tx, *tangents.values()], strict=True)
    expected = sum((g * t).sum() for g, t in pairs if g is not None)
    torch.testing.assert_close((given * ty).sum(), expected, rtol=1e-3, atol=1e-3)

    with torch.no_grad(), forward_ad.dual_level():
        dual = forward_ad.unpack_dual(model(forward_ad.make_dual(x, tx)))
    close(dual.primal, y)
    close(dual.tangent, jvp(model, (x,), (tx,))[1])

    stacked = {name: torch.stack([value, 1.5 * value + 0.01]) for name, value in parameters.items()}
    outputs = vmap(lambda p: functional_call(model, p, (x,)))(stacked)
    for i in range(2):
        close(outputs[i], functional_call(model, {name: v[i] for name, v in stacked.items()}, (x,)))

    expected_rows = torch.autograd.grad(model(argument)[:, 0].sum(), argument)[0]
    batched = torch.autograd.grad(
        model(argument), argument, torch.eye(3)[:, None].expand(3, len(x), 3), is_grads_batched=True
    )
    close(batched[0][0], expected_rows)


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4 * max(1.0, b.abs().max().item()))
