"""Pairs: what autograd sees, and what is refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import proxconnect as pc
from proxconnect.quantizers import hard_tanh, sign_swish, slope_of


@pytest.mark.parametrize("name", pc.methods())
@given(values=st.lists(st.floats(-4, 4, width=32), min_size=1, max_size=20), mu=st.floats(0.1, 100))
def test_autograd_multiplies_by_the_backward_quantizer(name: str, values: list[float], mu: float) -> None:
    pair = pc.method(name)
    w = torch.tensor(values, requires_grad=True)
    upstream = torch.arange(1.0, len(values) + 1)
    output = pair(w, mu)
    output.backward(upstream)
    assert torch.equal(output.detach(), pair.forward(w.detach(), mu))
    assert w.grad is not None
    assert torch.equal(w.grad, upstream * pair.backward(w.detach(), mu))


def test_backward_uses_the_mu_of_its_forward() -> None:
    mu = torch.tensor(2.0)
    w = torch.tensor([0.1], requires_grad=True)
    output = pc.method("bnn++")(w, mu)
    mu.fill_(50.0)
    output.sum().backward()
    assert torch.equal(w.grad, sign_swish.slope(w.detach(), 2.0))


def test_forward_does_not_return_its_argument() -> None:
    w = torch.zeros(3)
    assert pc.method("fp")(w, 1.0).data_ptr() != w.data_ptr()


def clipping_in_place(w: torch.Tensor, mu: float) -> torch.Tensor:
    return w.clamp_(-1, 1)


def marking_in_place(w: torch.Tensor, mu: float) -> torch.Tensor:
    return w.abs_().le_(1)


@pytest.mark.parametrize("backward", [marking_in_place, None], ids=["given", "derived"])
@pytest.mark.parametrize("tracked", [True, False])
def test_callables_that_change_their_argument_leave_the_latents_alone(backward: Any, tracked: bool) -> None:
    pair = pc.ForwardBackward(clipping_in_place, backward)
    w = torch.tensor([-3.0, 0.5, 2.0], requires_grad=tracked)
    output = pair(w, 1.0)
    assert output.tolist() == [-1.0, 0.5, 1.0]
    if tracked:
        output.sum().backward()
        assert w.grad.tolist() == [0.0, 1.0, 0.0]
    assert w.tolist() == [-3.0, 0.5, 2.0]


def test_callables_that_change_their_argument_leave_activations_alone() -> None:
    pair = pc.ForwardBackward(hard_tanh, marking_in_place)
    layer = pc.layers.BinaryActivation(pair)
    x = torch.tensor([-3.0, 0.5, 2.0], requires_grad=True)
    layer(x).sum().backward()
    assert x.grad.tolist() == [0.0, 1.0, 0.0]
    assert x.tolist() == [-3.0, 0.5, 2.0]


def natural_sign(w: torch.Tensor, mu: object) -> torch.Tensor:
    return torch.where(w >= 0, 1.0, -1.0)  # of torch's default dtype, whatever that of w is


def box_of_integers(w: torch.Tensor, mu: object) -> torch.Tensor:
    return (w.abs() <= 1).long()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_callables_may_return_another_dtype(dtype: torch.dtype) -> None:
    pair = pc.ForwardBackward(natural_sign, box_of_integers)
    w = torch.tensor([-3.0, -0.5, 0.0, 2.0], dtype=dtype, requires_grad=True)
    output = pair(w, 1.0)
    assert output.dtype == dtype
    assert output.tolist() == [-1, -1, 1, 1]
    output.sum().backward()
    assert w.grad.tolist() == [0, 1, 1, 0]
    assert pc.check(pair).status == pc.check("bnn").status
    layer = pc.binarize_(nn.Linear(4, 2, dtype=dtype), pc.BinarizeConfig(pair), lambda module, name: True)
    layer(w.detach()).sum().backward()
    assert layer.parametrizations.weight.original.grad.dtype == dtype
    activation = pc.layers.BinaryActivation(pair)
    activation(w).sum().backward()


@given(values=st.lists(st.floats(-4, 4), min_size=1, max_size=20), mu=st.floats(0.1, 10))
def test_derivative_by_autograd_equals_the_declared_slope(values: list[float], mu: float) -> None:
    w = torch.tensor(values, dtype=torch.float64)
    derived = pc.ForwardBackward(forward=sign_swish.value)
    torch.testing.assert_close(derived.backward(w, mu), sign_swish.slope(w, mu), rtol=1e-9, atol=1e-9)


def test_derivative_of_a_step_is_zero() -> None:
    pair = pc.ForwardBackward(forward=lambda w, mu: torch.where(w >= 0, 1.0, -1.0))
    assert pair.backward(torch.randn(5), 1.0).tolist() == [0.0] * 5


def test_survives_deepcopy() -> None:
    pair = copy.deepcopy(pc.method("bnn+"))
    w = torch.randn(4)
    assert torch.equal(pair.backward(w, 3.0), pc.method("bnn+").backward(w, 3.0))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"forward": 3}, "forward must be a callable"),
        ({"forward": torch.tanh, "backward": 3}, "backward must be"),
    ],
)
def test_refuses_what_cannot_be_called(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(pc.ProxConnectError, match=words):
        pc.ForwardBackward(**arguments)  # type: ignore[arg-type]


def test_backward_of_a_declared_map_is_its_slope() -> None:
    pair = pc.ForwardBackward(forward=hard_tanh)
    assert pair.backward == slope_of(hard_tanh)
    assert pair == pc.ForwardBackward(hard_tanh, slope_of(hard_tanh))
