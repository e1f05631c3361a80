"""Callables that are no plain functions of each latent, or that handle their argument badly."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from proxconnect.errors import ProxConnectError
from proxconnect.quantizers import ForwardBackward, linear_quantizer, method, slope_of
from proxconnect.theory import Interval, check


def identity(w: Tensor, mu: float) -> Tensor:
    return w * 1


def one(w: Tensor, mu: float) -> Tensor:
    return torch.ones_like(w)


def bare(pair: ForwardBackward) -> ForwardBackward:
    return ForwardBackward(lambda w, mu: pair.forward(w, mu), lambda w, mu: pair.backward(w, mu), pair.name)


# --- functions of the whole tensor ----------------------------------------------------------------


@pytest.mark.parametrize("switch", [20.5, 3e3, 1e200])
@pytest.mark.parametrize("summary", [torch.max, torch.mean], ids=["max", "mean"])
def test_a_function_of_the_whole_tensor_is_recognised_wherever_its_switch_lies(
    switch: float, summary: Callable[[Tensor], Tensor]
) -> None:
    def scaled(w: Tensor, mu: float) -> Tensor:
        return torch.where(summary(w.abs()) > switch, 2.0, 1.0) * torch.tanh(w)

    with pytest.raises(ProxConnectError, match="forward is not elementwise"):
        check(ForwardBackward(scaled, one))
    with pytest.raises(ProxConnectError, match="backward is not elementwise"):
        check(ForwardBackward(identity, lambda w, mu: 2 + scaled(w, mu)))


# --- slopes without bound --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        (ForwardBackward(lambda w, mu: w.sign() * w.abs() ** (1 / 3)), "the slope is infinite there"),
        (ForwardBackward(identity, lambda w, mu: (mu * w).abs() ** -0.5), "the slope is infinite there"),
        (ForwardBackward(lambda w, mu: 1 / w, one), "it has a pole there"),
    ],
    ids=["derived", "given", "pole"],
)
def test_an_infinite_slope_is_called_so(pair: ForwardBackward, words: str) -> None:
    with pytest.raises(ProxConnectError, match=words):
        check(pair)


# --- how callables are called ----------------------------------------------------------------------


def test_callables_see_neither_empty_tensors_nor_those_of_the_check() -> None:
    lengths = []

    def spoiling(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor, float], Tensor]:
        def call(w: Tensor, mu: float) -> Tensor:
            lengths.append(w.numel())
            value = function(w.clone())
            w.fill_(math.nan)
            return value

        return call

    def clip(w: Tensor) -> Tensor:
        return w.clamp(-1, 1)

    def inside(w: Tensor) -> Tensor:
        return (w.abs() <= 1).to(w)

    verdict = check(ForwardBackward(spoiling(clip), spoiling(inside)))
    assert verdict.exact
    assert verdict.exact_interval == Interval(-math.inf, math.inf, False, False)
    assert verdict.P is not None
    assert verdict.T is not None
    w = torch.tensor([-2.0, 0.25, 3.0], dtype=torch.float64)
    torch.testing.assert_close(verdict.T(verdict.P(w)), clip(w))
    assert w.tolist() == [-2.0, 0.25, 3.0]
    assert min(lengths) > 0


# --- what is unknown -------------------------------------------------------------------------------


def test_an_undetermined_verdict_has_no_interval_that_it_does_not_know() -> None:
    def waving(centre: float) -> ForwardBackward:
        def backward(w: Tensor, mu: float) -> Tensor:
            return 2 + torch.sin(1 / torch.where(w == centre, 1e-30, w - centre))

        return ForwardBackward(identity, backward)

    at_zero = check(waving(0.0), domain=(-1, 1))
    assert at_zero.status == "undetermined"
    assert at_zero.exact_interval is None
    beside = check(waving(0.5), domain=(-1, 1))
    assert beside.status == "undetermined"
    (unknown,) = [c.where for c in beside.conditions if c.outcome == "unknown"]
    assert unknown is not None
    known = beside.exact_interval
    assert known is not None
    assert (known.low, known.low_closed) == (-1, True)
    assert 0 < known.high <= unknown.low <= 0.5
    assert not known.high_closed


def test_a_report_tells_why_not_even_zero_is_exact() -> None:
    falling = check(ForwardBackward(lambda w, mu: -w, lambda w, mu: -torch.ones_like(w)), domain=(-1, 1))
    assert falling.exact_interval is None
    assert "exact around 0 on: nothing: B(0) = -1 is negative" in str(falling)
    beyond = check(method("bnn++"), mu=2.0, domain=(3, math.inf))
    assert "exact around 0 on: nothing: 0 lies outside the domain" in str(beyond)
    noisy = check(ForwardBackward(identity, lambda w, mu: 1 + torch.rand_like(w)))
    assert "exact around 0 on: nothing that is known" in str(noisy)


# --- steep ramps -----------------------------------------------------------------------------------


@pytest.mark.parametrize("mu", [1e4, 1e7])
@pytest.mark.parametrize("sampled", [False, True], ids=["declared", "sampled"])
def test_the_rounding_of_the_ends_of_a_steep_ramp_is_no_fall(mu: float, sampled: bool) -> None:
    ramp = linear_quantizer((-0.7, 0.1, 3.3))
    pair: Any = ForwardBackward(ramp, slope_of(ramp))
    verdict = check(bare(pair) if sampled else pair, mu, domain=(-4, 4))
    assert verdict.exact, str(verdict)
