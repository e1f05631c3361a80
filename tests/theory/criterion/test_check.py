from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from proxconnect.errors import ProxConnectError
from proxconnect.quantizers import ForwardBackward, method
from proxconnect.theory import Certificate, Interval, Verdict, check, implicit_regularizer, repair

Elementwise = Callable[[Tensor, Any], Tensor]


def identity(w: Tensor, mu: float) -> Tensor:
    return w


def one(w: Tensor, mu: float) -> Tensor:
    return torch.ones_like(w)


def sign(w: Tensor, mu: float) -> Tensor:
    return torch.ones_like(w).where(w >= 0, -1)


def clip(w: Tensor, mu: float) -> Tensor:
    return w.clamp(-1, 1)


def verdict_of(forward: Elementwise, backward: Elementwise, **options: Any) -> Verdict:
    return check(ForwardBackward(forward, backward, "mine"), **options)


def outcomes(verdict: Verdict) -> list[str]:
    return [condition.outcome for condition in verdict.conditions]


# --- each condition, where it fails, and the witness ----------------------------------------------


def test_a_stretch_on_which_f_decreases_is_found_and_shown() -> None:
    verdict = verdict_of(lambda w, mu: w - 3e-3 * torch.exp(-(((w - 0.3) / 1e-3) ** 2)), one)
    failed = verdict.conditions[0]
    assert failed.outcome == "fails"
    assert failed.witness is not None
    (low, high), (at_low, at_high) = failed.witness.latents, failed.witness.forward
    assert 0.29 < low < high < 0.31
    assert at_low > at_high
    assert verdict.exact_interval is not None
    assert verdict.exact_interval.high == pytest.approx(0.2985, abs=1e-4)


def test_a_downward_jump_decomposes_but_is_not_exact() -> None:
    verdict = verdict_of(lambda w, mu: torch.where(w > 0.3, w - 1, w), one)
    assert outcomes(verdict) == ["fails", "holds", "holds", "holds"]
    assert verdict.decomposes
    assert verdict.exact_interval == Interval(-math.inf, 0.3, False, True)


def test_growth_of_f_where_b_is_zero() -> None:
    verdict = verdict_of(identity, lambda w, mu: ((w < 0.5) | (w > 0.75)).to(w))
    failed = verdict.conditions[1]
    assert failed.outcome == "fails"
    assert failed.witness is not None
    assert failed.witness.backward == (0.0, 0.0)
    assert failed.witness.forward[0] < failed.witness.forward[1]
    assert verdict.exact_interval == Interval(-math.inf, 0.5, False, True)


def test_a_negative_b_is_shown() -> None:
    verdict = verdict_of(identity, lambda w, mu: torch.where(w > 1, -1.0, 1.0).to(w))
    failed = verdict.conditions[1]
    assert failed.witness is not None
    assert failed.witness.latents[0] > 1
    assert failed.witness.backward == (-1.0,)
    assert not verdict.decomposes


@pytest.mark.parametrize("width", [3e-2, 1e-2, 1e-3])
def test_a_narrow_dip_of_b_on_a_flat_is_shown_by_two_of_its_latents(width: float) -> None:
    verdict = verdict_of(sign, lambda w, mu: 1 - 0.1 * torch.exp(-(((w - 0.3) / width) ** 2)))
    failed = verdict.conditions[2]
    assert failed.outcome == "fails"
    assert failed.witness is not None
    assert failed.witness.forward == (1.0, 1.0)
    assert abs(failed.witness.backward[0] - failed.witness.backward[1]) > 0.09


def test_b_follows_the_side_that_f_takes_at_a_jump() -> None:
    def stepping(at_zero: float) -> Elementwise:
        return lambda w, mu: torch.where(w > 0, 2.0, torch.where(w < 0, 1.0, at_zero)).to(w)

    assert verdict_of(sign, stepping(2.0)).c1
    assert outcomes(verdict_of(sign, stepping(1.0))) == ["holds", "holds", "holds", "fails"]
    # sign(0) = 0 lies strictly within the jump, where T may have any slope.
    assert verdict_of(lambda w, mu: torch.sign(w), stepping(7.0)).c1


def test_b_lies_between_its_limits_at_a_kink() -> None:
    assert verdict_of(identity, lambda w, mu: torch.where(w > 0.5, 2.0, 1.0).to(w)).kinks == (0.5,)
    missed = verdict_of(identity, lambda w, mu: (w != 0).to(w))
    assert outcomes(missed) == ["holds", "holds", "holds", "fails"]
    assert missed.exact_interval == Interval(0, 0, True, True)


def test_a_slope_without_bound_is_no_kink() -> None:
    def root(w: Tensor, mu: float) -> Tensor:
        return torch.where(w > 0, w.clamp(min=0).sqrt(), w)

    verdict = verdict_of(root, lambda w, mu: torch.where(w > 0, 0.5 / w.clamp(min=1e-300).sqrt(), 1.0))
    assert verdict.conditions[3].outcome == "fails"
    assert "limit" in verdict.conditions[3].reason


# --- what saturates, grows or is noisy -------------------------------------------------------------


@pytest.mark.parametrize(
    ("forward", "backward"),
    [
        (lambda w, mu: torch.tanh(w), one),
        (
            lambda w, mu: torch.tanh(w) - torch.tanh(w) ** 3 / 3,  # T' = 0 where P = tanh saturates
            lambda w, mu: 1 - torch.tanh(w) ** 2,
        ),
        (lambda w, mu: w.exp(), lambda w, mu: w.exp()),
        (lambda w, mu: w**9, lambda w, mu: w.abs()),
        (lambda w, mu: ((w + 1).abs() - (w - 1).abs()) / 2, lambda w, mu: (w.abs() <= 1).to(w)),
        (
            lambda w, mu: torch.sign(w) * (1 - (1 - w.abs()).clamp(min=0) ** 1.5),
            lambda w, mu: 1.5 * (1 - w.abs()).clamp(min=0) ** 0.5,
        ),
        (lambda w, mu: w + 0.5 * torch.sin(w), lambda w, mu: 1 + 0.5 * torch.cos(w)),
        # Near 0, where floats are densest, rounding hides that F has left -1.
        (lambda w, mu: 2 * w.clamp(0, 1) - 1, lambda w, mu: 2 * ((w >= 0) & (w <= 1)).to(w)),
        (lambda w, mu: 1 - 1e-3 * torch.relu(-w), lambda w, mu: (w <= 0).to(w)),
    ],
    ids=[
        *("tanh", "saturating T", "exp", "flat at 0", "rounding on flats", "power 3/2", "wavy"),
        *("hard sigmoid", "faint slope"),
    ],
)
def test_exact_pairs_that_are_hard_to_see(forward: Elementwise, backward: Elementwise) -> None:
    assert verdict_of(forward, backward).exact


@pytest.mark.parametrize("mu", [1e-3, 1.0, 1e4])
def test_any_sharpness(mu: float) -> None:
    def slope(w: Tensor, mu: float) -> Tensor:
        return mu / torch.cosh((mu * w).clamp(-300, 300)) ** 2

    assert verdict_of(lambda w, mu: torch.tanh(mu * w), slope, mu=mu).exact
    assert not verdict_of(sign, slope, mu=mu).exact


@pytest.mark.parametrize("mu", [1.0, 20.0, 1e3])
def test_growth_far_out_does_not_hide_a_step_near_zero(mu: float) -> None:
    def forward(w: Tensor, mu: float) -> Tensor:
        return sign(w, mu) + torch.relu(mu * w - 2) ** 5

    def backward(w: Tensor, mu: float) -> Tensor:
        u = mu * w
        return mu * (1 + ((u > 1) & (u < 2)) + 5 * torch.relu(u - 2) ** 4)

    verdict = verdict_of(forward, backward, mu=mu)
    assert verdict.status == "not exact"
    assert verdict.exact_interval is not None
    assert verdict.exact_interval.high == pytest.approx(1 / mu)


# --- P and T ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("forward", "backward"),
    [
        (identity, lambda w, mu: w.abs() ** 0.25),
        (lambda w, mu: w**3, lambda w, mu: w.abs()),
        (lambda w, mu: torch.atan(w), lambda w, mu: (1 + w**2) ** -0.5),
        (lambda w, mu: w + sign(w, mu), lambda w, mu: 1.5 + torch.sin(w) + (w >= 0)),
        (lambda w, mu: torch.relu(w) + sign(w, mu), lambda w, mu: torch.where(w >= 0, 2.0, 0.0).to(w)),
    ],
    ids=["root", "cube", "atan", "jump between slopes", "jump from a dead flat"],
)
def test_p_and_t_rebuild_the_pair(forward: Elementwise, backward: Elementwise) -> None:
    verdict = verdict_of(forward, backward)
    assert verdict.exact
    assert verdict.P is not None
    assert verdict.T is not None
    w = torch.linspace(-4, 4, 802, dtype=torch.float64)
    u = verdict.P(w).requires_grad_()
    assert bool((u.diff() >= -1e-12).all())
    value = verdict.T(u)
    value.sum().backward()
    torch.testing.assert_close(value.detach(), forward(w, 1.0), rtol=0, atol=1e-6)
    torch.testing.assert_close(u.grad, backward(w, 1.0), rtol=0, atol=1e-6)
    # T.slope is the derivative of T, between the images of P too.
    line = torch.linspace(u.min().item(), u.max().item(), 1001, dtype=torch.float64)[1:-1]
    step = 1e-6
    difference = (verdict.T(line + step) - verdict.T(line - step)) / (2 * step)
    gap = (difference - verdict.T.slope(line)).abs()
    assert float(gap.quantile(0.99)) < 1e-5 * (1 + float(difference.max()))
    assert bool((verdict.T(line).diff() >= -1e-12).all())


@pytest.mark.parametrize("mu", [0.1, 16.0, 1e3])
def test_p_and_t_of_a_pair_that_is_much_sharper_than_its_domain(mu: float) -> None:
    """``P = 0.3 mu w``, ``T(u) = u + tanh(20 u)``: all bends lie within ``|w| < 1/mu``."""

    def forward(w: Tensor, mu: float) -> Tensor:
        u = 0.3 * mu * w
        return u + torch.tanh(20 * u)

    def backward(w: Tensor, mu: float) -> Tensor:
        return 1 + 20 * (1 - torch.tanh(6 * mu * w) ** 2)

    verdict = verdict_of(forward, backward, mu=mu, domain=(-60, 60))
    assert verdict.exact
    assert verdict.P is not None
    assert verdict.T is not None
    w = torch.linspace(-1, 1, 401, dtype=torch.float64) / mu
    u = verdict.P(w)
    torch.testing.assert_close(u, 0.3 * mu * w, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(verdict.T(u), forward(w, mu), rtol=0, atol=1e-6)
    torch.testing.assert_close(verdict.T.slope(u), backward(w, mu), rtol=0, atol=1e-6)


def test_p_is_the_forward_quantizer_where_b_is_one() -> None:
    verdict = check(method("bc"))
    assert verdict.P is not None
    assert verdict.T is not None
    w = torch.tensor([-2.0, -0.0, 0.0, 3.0], dtype=torch.float16)
    assert verdict.P(w).tolist() == [-1, 1, 1, 1]
    assert verdict.P(w).dtype == torch.float16
    assert verdict.T(torch.tensor([[-1.0], [0.5]])).tolist() == [[-1.0], [0.5]]


# --- domains ---------------------------------------------------------------------------------------


def test_a_pair_is_judged_on_the_domain_alone() -> None:
    inside = verdict_of(sign, lambda w, mu: (w.abs() <= 1).to(w), domain=(-1, 1))
    assert inside.c1
    assert inside.exact_interval == Interval(-1, 1, True, True)
    assert verdict_of(sign, lambda w, mu: (w.abs() <= 1).to(w), domain=(-1, 1.1)).status == "not exact"
    assert verdict_of(clip, lambda w, mu: (w.abs() <= 1).to(w), domain=(1, 2)).c1
    assert check(method("bnn++"), mu=2.0, domain=(-1.19, 1.19)).c1
    assert check(method("bnn++"), mu=2.0, domain=(3, math.inf)).exact_interval is None


# --- what cannot be decided, and what is refused ---------------------------------------------------


def test_oscillation_at_the_sampling_limit_is_undetermined() -> None:
    verdict = verdict_of(identity, lambda w, mu: 2 + torch.sin(1 / torch.where(w == 0, 1e-30, w)))
    assert verdict.status == "undetermined"
    assert not verdict.exact
    assert verdict.decomposes is None
    (unknown,) = [c for c in verdict.conditions if c.outcome == "unknown"]
    assert "sampling limit" in unknown.reason
    assert unknown.where is not None
    assert 0.0 in unknown.where


def test_values_that_change_between_calls_are_undetermined() -> None:
    verdict = verdict_of(identity, lambda w, mu: 1 + torch.rand_like(w))
    assert verdict.status == "undetermined"
    assert "backward changes between calls" in str(verdict)
    assert verdict.P is None


@pytest.mark.parametrize(
    ("forward", "backward", "words"),
    [
        (lambda w, mu: w - w.mean(), one, "forward is not elementwise"),
        (identity, lambda w, mu: torch.softmax(w, 0), "backward is not elementwise"),
        (lambda w, mu: w.sqrt(), one, "forward is nan at w = -"),
        (lambda w, mu: 1 / w, one, "forward is inf at w = 0"),
        (lambda w, mu: w.sum(), one, r"shape \(1001,\)"),
        (lambda w, mu: w + 0j, one, "torch.complex128"),
        (identity, lambda w, mu: 1.0, "backward returns float"),
        (identity, lambda w, mu: w.nope, "backward fails"),
    ],
)
def test_what_is_no_elementwise_function_is_refused(
    forward: Elementwise, backward: Elementwise, words: str
) -> None:
    with pytest.raises(ProxConnectError, match=words):
        verdict_of(forward, backward)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mu": 0}, "mu must be a positive"),
        ({"mu": -2.0}, "mu must be a positive"),
        ({"mu": math.nan}, "mu must be a positive"),
        ({"mu": math.inf}, "mu must be a positive finite number, not inf"),
        ({"mu": "big"}, "not 'big'"),
        ({"domain": (1, 1)}, "low < high"),
        ({"domain": (2, 1)}, "low < high"),
        ({"domain": (math.nan, 1)}, "low < high"),
        ({"domain": (1, 2, 3)}, "two numbers"),
        ({"domain": 3}, "two numbers"),
    ],
)
def test_bad_sharpness_and_domains_are_refused(options: dict[str, Any], words: str) -> None:
    for pair in (method("bnn++"), ForwardBackward(identity, one)):
        with pytest.raises(ProxConnectError, match=words):
            check(pair, **options)


def test_something_that_is_no_pair_is_refused() -> None:
    with pytest.raises(
        ProxConnectError, match="pair must be a name such as 'bnn\\+\\+' or a ForwardBackward, not 3"
    ):
        check(3)  # type: ignore[arg-type]
    with pytest.raises(ProxConnectError, match="did you mean 'bnn\\+\\+'"):
        check("bnn++x")


def test_a_name_stands_for_its_pair() -> None:
    assert check("bnn", mu=2.0) == check(method("bnn"), mu=2.0)
    assert repair("bnn+") == method("bnn++")
    assert torch.equal(
        implicit_regularizer("hardtanh", torch.tensor([0.5]), 4.0),
        implicit_regularizer(method("hardtanh"), torch.tensor([0.5]), 4.0),
    )
    assert Certificate("bc").pair == method("bc")


def test_a_verdict_draws_its_pair(tmp_path: Path) -> None:
    drawn = check("bnn+", mu=3.0).plot(tmp_path / "bnn+.svg")
    assert drawn == tmp_path / "bnn+.svg"
    assert "<svg" in drawn.read_text()
    with pytest.raises(ProxConnectError, match="xyz"):
        check("bnn+").plot(str(tmp_path / "bnn+.xyz"))
    assert sorted(tmp_path.iterdir()) == [drawn]


# --- reports ---------------------------------------------------------------------------------------


def test_a_verdict_reads_well_and_goes_into_json() -> None:
    for pair in (method("bnn+"), ForwardBackward(sign, lambda w, mu: 1 / (1 + w * w), "mine")):
        verdict = check(pair)
        report = str(verdict)
        assert report.startswith(f"{pair.name} at mu = 1 on (-inf, inf): not exact")
        assert "3. fails" in report
        assert "exact around 0 on: {0}" in report
        data = json.loads(json.dumps(verdict.to_dict(), allow_nan=False))
        assert data["status"] == "not exact"
        assert data["conditions"][2]["outcome"] == "fails"
        assert len(data["conditions"][2]["witness"]["latents"]) == 2
        assert data["evidence"]["kind"] == verdict.evidence.kind
    assert verdict.evidence.samples > 10_000
    assert 0 < verdict.evidence.resolution < 1e-2
