from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from proxconnect.errors import ProxConnectError
from proxconnect.quantizers import ForwardBackward, method, methods
from proxconnect.theory import check, repair, synthesize

REPAIRED = {"bnn": "hardtanh", "bnn+": "bnn++", "poly": "poly+", "ede": "ede+", "reste": "reste+"}


def bare(pair: ForwardBackward) -> ForwardBackward:
    return ForwardBackward(lambda w, mu: pair.forward(w, mu), lambda w, mu: pair.backward(w, mu), pair.name)


def sign(w: Tensor, mu: float) -> Tensor:
    return torch.ones_like(w).where(w >= 0, -1)


# --- synthesis -------------------------------------------------------------------------------------

PROXES: dict[str, Callable[[Tensor, float], Tensor]] = {
    "identity": lambda w, mu: w,
    "sign": sign,
    "clip": lambda w, mu: (mu * w).clamp(-1, 1),
    "tanh": lambda w, mu: torch.tanh(mu * w),
    "soft threshold": lambda w, mu: torch.sign(w) * (w.abs() - 1 / mu).clamp(min=0),
    "binary relax": lambda w, mu: (w + mu * sign(w, mu)) / (1 + mu),
}


@given(
    st.sampled_from(sorted(PROXES)),
    st.floats(0.2, 5),
    st.floats(0.1, 3),
    st.floats(0.1, 10),
    st.floats(-2, 2),
    st.floats(0.5, 8),
)
@settings(max_examples=4, deadline=None)
def test_what_is_synthesized_passes_the_check(
    name: str, line: float, height: float, steepness: float, centre: float, mu: float
) -> None:
    def transform(u: Tensor) -> Tensor:
        return line * u + height * torch.tanh(steepness * (u - centre))

    pair = synthesize(transform, PROXES[name])
    verdict = check(pair, mu)
    assert verdict.exact, f"{name}\n{verdict}"
    assert verdict.c1


def test_synthesis_composes_values_and_slopes() -> None:
    w = torch.linspace(-3, 3, 13, dtype=torch.float64)
    prox = PROXES["clip"]
    for derivative in (None, lambda u: 1 - torch.tanh(u) ** 2):
        pair = synthesize(torch.tanh, prox, derivative)
        torch.testing.assert_close(pair.forward(w, 2.0), torch.tanh(prox(w, 2.0)))
        torch.testing.assert_close(pair.backward(w, 2.0), 1 - torch.tanh(prox(w, 2.0)) ** 2)
    assert pair.backward(w.to(torch.bfloat16), 2.0).dtype == torch.bfloat16


def test_a_transform_need_only_be_monotone_on_the_range_of_prox() -> None:
    assert check(synthesize(torch.sin, PROXES["clip"])).exact
    assert check(synthesize(torch.asin, lambda w, mu: 0.9 * w.clamp(-1, 1))).exact


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((torch.sin, PROXES["identity"]), "transform must be nondecreasing, but it falls on"),
        ((torch.tanh, lambda w, mu: method("bnn++").forward(w, mu)), "prox must be nondecreasing"),
        ((torch.tanh, lambda w, mu: -w), "prox must be nondecreasing"),
        ((torch.tanh, lambda w, mu: w + 1e-2 * (w - w.mean())), "prox is not elementwise"),
        ((torch.log, PROXES["identity"]), "transform is nan"),
        ((torch.tanh, PROXES["identity"], lambda u: -torch.ones_like(u)), "derivative must not be negative"),
        ((torch.tanh, PROXES["identity"], lambda u: u**2), "derivative is not the slope of transform"),
        (
            (torch.tanh, PROXES["identity"], lambda u: 1.001 * (1 - torch.tanh(u) ** 2)),
            "derivative is not the slope",
        ),
        ((torch.tanh, "clip"), "prox must be a callable"),
        ((None, PROXES["clip"]), "transform must be a callable"),
        ((torch.tanh, lambda w, mu: torch.rand_like(w)), "prox changes between calls"),
    ],
)
def test_what_cannot_be_exact_is_refused(arguments: Any, words: str) -> None:
    with pytest.raises(ProxConnectError, match=words):
        synthesize(*arguments)


# --- repair ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", methods())
def test_repair_of_the_catalogue(name: str) -> None:
    pair = method(name)
    repaired = repair(pair, 2.0)
    assert repaired == method(REPAIRED.get(name, name))
    if name not in REPAIRED:
        assert repaired is pair
    assert repair(repaired, 2.0) is repaired
    assert check(repaired, 2.0).decomposes


def test_repair_keeps_the_parameters_of_a_method() -> None:
    repaired = repair(method("reste", m=0.2, t=1.0), 3.0)
    assert repaired.forward == method("reste+", m=0.2, t=1.0).forward
    assert repaired.name == "reste, repaired"


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in ("bnn", "bnn+") else pytest.mark.full) for name in REPAIRED],
)
def test_repair_by_quadrature_finds_the_same_map(name: str) -> None:
    repaired = repair(bare(method(name)), 2.0)
    expected = method(REPAIRED[name])
    w = torch.cat([torch.linspace(-4, 4, 801, dtype=torch.float64), torch.tensor([1e4, -1e4, math.inf])])
    for mu in (1.0, 2.0, 40.0):
        torch.testing.assert_close(repaired.forward(w, mu), expected.forward(w, mu), rtol=0, atol=1e-9)
    assert repaired.forward(w.to(torch.float16), 2.0).dtype == torch.float16
    assert repair(repaired, 2.0) is repaired
    ours, theirs = check(repaired, 2.0), check(expected, 2.0)
    assert (ours.status, ours.c1, ours.decomposes) == (theirs.status, theirs.c1, theirs.decomposes)
    assert str(ours.exact_interval) == str(theirs.exact_interval)


def test_an_integral_is_differentiable_and_of_any_shape() -> None:
    with pytest.warns(UserWarning, match="normalise=True scales it"):
        repaired = repair(ForwardBackward(sign, lambda w, mu: 1 / (1 + (mu * w) ** 2)), 2.0, normalise=False)
    w = torch.linspace(-3, 3, 12).reshape(3, 4).requires_grad_()
    value = repaired.forward(w, 2.0)
    torch.testing.assert_close(value, torch.atan(2 * w) / 2)
    value.sum().backward()
    torch.testing.assert_close(w.grad, 1 / (1 + (2 * w.detach()) ** 2), rtol=1e-4, atol=1e-5)


# --- where a repaired F ends -----------------------------------------------------------------------


# Slopes whose integral does not end at -1 and 1, with the literal form of F = int_0^w B / int_0^inf B.
OFF: dict[str, tuple[Callable[[Tensor, float], Tensor], Callable[[Tensor, float], Tensor]]] = {
    "not scaled by mu": (
        lambda w, mu: 1 / (1 + (mu * w) ** 2),
        lambda w, mu: (2 / math.pi) * torch.atan(mu * w),
    ),
    "scaled by mu": (
        lambda w, mu: mu / (1 + (mu * w) ** 2),
        lambda w, mu: (2 / math.pi) * torch.atan(mu * w),
    ),
    "a clipped line": (lambda w, mu: ((mu * w).abs() <= 1).to(w), lambda w, mu: (mu * w).clamp(-1, 1)),
    "wider as mu grows": (
        lambda w, mu: torch.exp(-w.abs() / mu),
        lambda w, mu: w.sign() * (1 - torch.exp(-w.abs() / mu)),
    ),
    "a factor of mu": (lambda w, mu: mu**1.5 / torch.cosh(mu * w) ** 2, lambda w, mu: torch.tanh(mu * w)),
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.full if "scaled by mu" in name else ()) for name in OFF],
)
def test_a_repair_ends_at_the_levels_at_every_mu(name: str) -> None:
    slope, literal = OFF[name]
    with pytest.warns(UserWarning, match="ends at .* repair scales it, so that it ends at -1 and 1"):
        repaired = repair(ForwardBackward(sign, slope, name), 2.0)
    assert repaired.backward is slope
    w = torch.cat([torch.linspace(-4, 4, 81, dtype=torch.float64), torch.tensor([1e9, -1e9])])
    for mu in (0.3, 2.0, 40.0):
        torch.testing.assert_close(repaired.forward(w, mu), literal(w, mu), rtol=0, atol=1e-8)
        torch.testing.assert_close(repaired.forward(w.float(), mu), literal(w, mu).float(), rtol=0, atol=1e-6)
    assert check(repaired, 40.0).exact
    assert check(repaired, 2.0).ends.approach((-1.0, 1.0))
    assert repair(repaired, 2.0) is repaired


@given(
    st.sampled_from(["poly+", "hardtanh", "bnn", "bnn++"]),
    st.floats(0.1, 10),
    st.floats(-3, 3),
    st.floats(0.1, 10),
    st.floats(0.2, 40),
)
@settings(max_examples=5, deadline=None)
def test_exactness_is_kept_by_scaling_and_moving_f_and_by_scaling_b(
    name: str, c: float, a: float, k: float, mu: float
) -> None:
    """``(F, B)`` with ``P`` and ``T`` gives ``(a + c F, k B)`` with ``(c/k) P`` and ``a + c T(k u/c)``."""
    pair = method(name)
    moved = ForwardBackward(
        lambda w, mu: a + c * pair.forward(w, mu), lambda w, mu: k * pair.backward(w, mu), name
    )
    verdict, before = check(moved, mu), check(pair, mu)
    assert verdict.status == before.status
    assert verdict.kinks == pytest.approx(before.kinks)
    interval, expected = verdict.exact_interval, before.exact_interval
    assert interval is not None
    assert expected is not None
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), rel=1e-5)
    assert verdict.P is not None
    assert verdict.T is not None
    w = torch.linspace(-0.9, 0.9, 7, dtype=torch.float64) / mu
    u = verdict.P(w)
    torch.testing.assert_close(verdict.T(u), moved.forward(w, mu))
    torch.testing.assert_close(verdict.T.slope(u), moved.backward(w, mu), rtol=1e-5, atol=1e-5 * k)


def test_the_levels_are_those_of_the_replaced_quantizer() -> None:
    def step(w: Tensor, mu: float) -> Tensor:
        return 3 * (w >= 0).to(w)

    with pytest.warns(UserWarning, match="so that it ends at 0 and 3 at every mu"):
        repaired = repair(ForwardBackward(step, lambda w, mu: 1 / torch.cosh(mu * w) ** 2))
    w = torch.tensor([-50.0, 0.0, 50.0], dtype=torch.float64)
    torch.testing.assert_close(repaired.forward(w, 4.0), torch.tensor([0.0, 1.5, 3.0], dtype=torch.float64))


def test_an_exact_pair_that_fades_is_scaled_and_one_that_does_not_is_returned() -> None:
    fading = ForwardBackward(lambda w, mu: torch.tanh(mu * w) / mu, name="fading")
    with pytest.warns(UserWarning, match="F fades to nothing; repair scales it"):
        scaled = repair(fading)
    assert scaled.backward is fading.backward
    w = torch.linspace(-3, 3, 7)
    torch.testing.assert_close(scaled.forward(w, 8.0), torch.tanh(8 * w))
    assert check(scaled, 8.0).exact
    assert repair(scaled) is scaled
    doubled = ForwardBackward(lambda w, mu: 2 * torch.tanh(mu * w))  # with levels -2 and 2
    assert repair(doubled) is doubled


@given(st.floats(0.3, 3), st.floats(-1, 1), st.floats(0.2, 2), st.floats(0.5, 8))
@settings(max_examples=2, deadline=None)
def test_repairing_twice_changes_nothing(height: float, centre: float, width: float, mu: float) -> None:
    def bell(w: Tensor, mu: float) -> Tensor:
        return height * torch.exp(-(((mu * w - centre) / width) ** 2))

    pair = ForwardBackward(sign, bell, "drawn")
    with pytest.warns(UserWarning, match="repair scales it"):
        repaired = repair(pair, mu)
    assert repaired is not pair
    assert check(repaired, mu).exact
    assert repair(repaired, mu) is repaired


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_shifted_repair_is_centred_on_the_levels(dtype: torch.dtype) -> None:
    """``int B`` is 2 in all; from the start of the triangle at -0.7 up to 0 it is 0.49."""

    def triangle(w: Tensor, mu: float) -> Tensor:
        return (2 - 2 * (w - 0.3).abs()).clamp(min=0)

    w = torch.tensor([-100.0, -0.7, 0.0, 0.3, 1.3, 100.0], dtype=dtype)
    expected = torch.tensor([-1.0, -1.0, -0.51, 0.0, 1.0, 1.0], dtype=dtype)
    for middle in (0.0, 5.0):
        pair = ForwardBackward(lambda w, mu, middle=middle: middle + sign(w - 0.3, mu), triangle)
        torch.testing.assert_close(repair(pair).forward(w, 1.0), middle + expected, rtol=0, atol=1e-5)


def test_a_repair_that_is_unbounded_is_zero_at_zero() -> None:
    pair = ForwardBackward(lambda w, mu: sign(w - 0.3, mu), lambda w, mu: 1 + (w.abs() < 1).to(w))
    with pytest.warns(UserWarning, match="ends at -inf and inf.* no scale makes it end there"):
        repaired = repair(pair)
    assert repaired.forward(torch.tensor([0.0, 0.5, 2.0]), 1.0).tolist() == pytest.approx([0, 1, 3])


def test_what_cannot_be_integrated_is_refused() -> None:
    with pytest.raises(ProxConnectError, match="cannot be integrated"):
        repair(ForwardBackward(sign, lambda w, mu: 2 + torch.sin(1 / torch.where(w == 0, 1e-30, w))))
    with pytest.raises(ProxConnectError, match="mu must be a positive"):
        repair(method("bnn+"), mu=0)
