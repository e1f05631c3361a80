"""Sections 3 and 4: every verdict of the catalogue and every small case, declared and found by sampling."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from proxconnect.quantizers import ForwardBackward, method, methods
from proxconnect.theory import Interval, Verdict, check

R = Interval(-math.inf, math.inf, False, False)
ONLY_ZERO = Interval(0, 0, True, True)
TURN = 2.39936


@dataclass(frozen=True)
class Row:
    """A row of the table; ``reach`` is the end of the exact interval times mu if the interval is bounded."""

    status: str
    kinks: tuple[float, ...] = ()
    reach: float | None = None
    interval: Interval | None = R
    decomposes: bool = False


C1 = Row("exact", decomposes=True)
TABLE = {
    "fp": C1,
    "bc": C1,
    "pc": C1,
    "binary-relax": C1,
    "parq": C1,
    "bnn": Row("not exact", reach=1.0),
    "hardtanh": Row("exact", kinks=(-1.0, 1.0), decomposes=True),
    "bnn+": Row("not exact", interval=ONLY_ZERO),
    "bnn++": Row("not exact", reach=TURN, decomposes=True),
    "bnn++m": C1,
    "poly": Row("not exact", interval=ONLY_ZERO),
    "poly+": C1,
    "ede": Row("not exact", interval=ONLY_ZERO),
    "ede+": C1,
}


def bare(pair: ForwardBackward) -> ForwardBackward:
    """Return the pair without its declarations."""
    return ForwardBackward(lambda w, mu: pair.forward(w, mu), lambda w, mu: pair.backward(w, mu), pair.name)


def both_ways(name: str, mu: float) -> list[Verdict]:
    verdicts = [check(method(name), mu), check(bare(method(name)), mu)]
    assert [verdict.evidence.kind for verdict in verdicts] == ["declared", "numeric"]
    return verdicts


def test_the_table_is_whole() -> None:
    assert {*TABLE, "reste", "reste+"} == set(methods())


# At another sharpness, one method of each kind of row stands for the rest.
KINDS = ("bc", "bnn", "hardtanh", "bnn+", "bnn++", "poly+")


@pytest.mark.parametrize(
    ("name", "mu"),
    [
        pytest.param(name, mu, marks=() if mu == 1.0 or name in KINDS else pytest.mark.full)
        for name in TABLE
        for mu in (1.0, 3.0)
    ],
)
def test_verdict_of_the_catalogue(name: str, mu: float) -> None:
    row = TABLE[name]
    for verdict in both_ways(name, mu):
        assert verdict.status == row.status
        assert verdict.exact == (row.status == "exact")
        assert verdict.c1 == (verdict.exact and not row.kinks)
        assert verdict.kinks == pytest.approx([kink / mu for kink in row.kinks], abs=1e-6)
        assert verdict.decomposes == row.decomposes
        found = verdict.exact_interval
        assert found is not None
        if row.reach is None:
            assert found == row.interval
        else:
            assert (found.low, found.high) == pytest.approx((-row.reach / mu, row.reach / mu), abs=1e-4 / mu)
            assert found.low_closed
            assert found.high_closed


@pytest.mark.parametrize("mu", [0.2, 0.7, 5.0, 60.0])
@pytest.mark.parametrize(("name", "reach"), [("bnn", 1.0), ("bnn++", TURN)])
def test_the_exact_interval_shrinks_with_mu(name: str, reach: float, mu: float) -> None:
    for verdict in both_ways(name, mu):
        assert verdict.exact_interval is not None
        ends = verdict.exact_interval.low, verdict.exact_interval.high
        assert ends == pytest.approx((-reach / mu, reach / mu), abs=1e-4 * min(1, 1 / mu))


def test_conditions_that_fail() -> None:
    fails = {
        "bnn": [3],
        "bnn+": [2, 3],  # B < 0 beyond 2.39936
        "bnn++": [1, 2],
        "poly": [3],
        "ede": [3],
        "reste": [3],
    }
    for name, numbers in fails.items():
        for verdict in both_ways(name, 1.0):
            assert [c.number for c in verdict.conditions if c.outcome == "fails"] == numbers


@pytest.mark.parametrize("o", [1.0, 3.0])
def test_verdict_of_reste(o: float) -> None:
    m, t = 0.1, 1.5
    reach = m if o > 1 else t
    for verdict in both_ways("reste", o):
        assert verdict.status == "not exact"
        assert verdict.exact_interval is not None
        assert (verdict.exact_interval.low, verdict.exact_interval.high) == pytest.approx((-reach, reach))
        assert verdict.exact_interval.high_closed
    for verdict in both_ways("reste+", o):
        assert verdict.exact
        assert verdict.exact_interval == R
        assert verdict.kinks == pytest.approx((-t, -m, m, t) if o > 1 else (-t, t))


def test_b_of_bnn_plus_is_negative_beyond_the_turning_point() -> None:
    pair = method("bnn+")
    w = torch.tensor([TURN - 1e-4, TURN + 1e-4], dtype=torch.float64)
    below, above = pair.backward(w, 1.0).tolist()
    assert below > 0 > above
    assert check(pair, domain=(-2.0, 2.0)).conditions[1].holds


def test_decomposition_of_bnn_plus_plus_is_by_the_identity() -> None:
    for verdict in both_ways("bnn++", 1.0):
        assert verdict.P is not None
        assert verdict.T is not None
        w = torch.linspace(-2.399, 2.399, 101, dtype=torch.float64)
        torch.testing.assert_close(verdict.P(w), w, rtol=0, atol=1e-9)
        torch.testing.assert_close(verdict.T(w), method("bnn++").forward(w, 1.0), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", sorted({*TABLE, "reste", "reste+"}))
def test_p_and_t_of_every_method(name: str) -> None:
    mu = 2.0
    pair = method(name)
    for verdict in both_ways(name, mu):
        assert verdict.exact_interval is not None
        assert verdict.P is not None
        assert verdict.T is not None
        low, high = max(verdict.exact_interval.low, -5.0), min(verdict.exact_interval.high, 5.0)
        w = torch.linspace(low, high, 501, dtype=torch.float64)
        u = verdict.P(w).requires_grad_()
        value = verdict.T(u)
        value.sum().backward()
        torch.testing.assert_close(value.detach(), pair.forward(w, mu), rtol=0, atol=1e-6)
        torch.testing.assert_close(u.grad, pair.backward(w, mu), rtol=0, atol=1e-6)


def clip(w: Tensor, mu: float) -> Tensor:
    return w.clamp(-1, 1)


def identity(w: Tensor, mu: float) -> Tensor:
    return w


@pytest.mark.parametrize("c", [0.0, 0.5, 1.0, 2.0])
def test_clip_is_exact_with_the_outer_slopes_zero_and_one_alone(c: float) -> None:
    verdict = check(ForwardBackward(clip, lambda w, mu: torch.where(w.abs() <= 1, 1.0, c).to(w)))
    assert verdict.exact == (c in (0.0, 1.0))
    assert verdict.c1 == (c == 1.0)
    assert verdict.P is not None
    w = torch.tensor([-3.0, -1.0, 0.5, 3.0], dtype=torch.float64)
    if c == 0.0:
        assert verdict.kinks == (-1.0, 1.0)
        torch.testing.assert_close(verdict.P(w), w)
    elif c == 1.0:
        torch.testing.assert_close(verdict.P(w), clip(w, 1.0))
    else:
        assert verdict.exact_interval == Interval(-1, 1, True, True)
        assert not verdict.decomposes


@pytest.mark.parametrize("power", [0.25, 0.5, 0.9, 0.99, 1.0, 1.01, 1.5, 2.0])
@pytest.mark.parametrize("zero", [0.0, 0.7])
def test_powers_are_exact_below_one(power: float, zero: float) -> None:
    verdict = check(ForwardBackward(identity, lambda w, mu: (w - zero).abs() ** power))
    assert verdict.exact == (power < 1)
    if power >= 1:
        assert [c.outcome for c in verdict.conditions] == ["holds", "fails", "holds", "holds"]
        assert verdict.exact_interval is not None
        assert verdict.exact_interval.high == pytest.approx(zero, abs=1e-9)
        assert verdict.exact_interval.high_closed == (zero == 0)


def test_p_is_the_integral_of_df_over_b() -> None:
    w = torch.linspace(-4, 4, 801, dtype=torch.float64)
    root = check(ForwardBackward(identity, lambda w, mu: w.abs().sqrt()))
    assert root.P is not None
    torch.testing.assert_close(root.P(w), 2 * w.sign() * w.abs().sqrt(), rtol=1e-6, atol=1e-6)
    # Where F is flat and B = 0, P moves with slope 1; the jump of F is P's own.
    step = ForwardBackward(lambda w, mu: torch.relu(w) + 2.0 * (w >= 0), lambda w, mu: 4.0 * (w >= 0).to(w))
    stepping = check(step)
    assert stepping.exact
    assert stepping.P is not None
    right = w[w >= 0]
    below, above = stepping.P(w[w < -0.005]), stepping.P(right)
    torch.testing.assert_close(below.diff(), torch.full_like(below.diff(), 0.01))
    torch.testing.assert_close(above - above[0], (right - right[0]) / 4)
    assert above[0] > below[-1]


@pytest.mark.parametrize("forward", [torch.sin, lambda w: w**3 - w, lambda w: torch.relu(w) - 1])
def test_a_function_over_its_own_slope_decomposes(forward: Callable[[Tensor], Tensor]) -> None:
    """Plain descent on ``l o F`` is ``P = id``, whether F is monotone or not."""
    verdict = check(ForwardBackward(lambda w, mu: forward(w)), domain=(-4, 4))
    assert verdict.decomposes
    w = torch.linspace(-4, 4, 4001, dtype=torch.float64)
    assert verdict.exact == bool((forward(w).diff() >= 0).all())


def test_exactness_on_two_intervals_around_zero_gives_it_on_their_union() -> None:
    pair = method("bnn++")
    for domain in ((-2.3, 1.0), (-1.0, 2.3), (-2.3, 2.3)):
        assert check(pair, domain=domain).c1
    for domain in ((-2.5, 1.0), (-1.0, 2.5)):
        assert check(pair, domain=domain).status == "not exact"


@pytest.mark.parametrize("mu", [0.5, 2.0])
def test_bnn_is_bc_up_to_the_step_size_while_latents_stay_inside(mu: float) -> None:
    """And beyond, the weight freezes."""
    bnn, bc = method("bnn"), method("bc")
    target = torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64)
    ours = theirs = torch.tensor([0.2, -0.1, -0.3], dtype=torch.float64) / mu
    for _ in range(20):
        ours = ours - 0.02 * bnn.backward(ours, mu) * (bnn.forward(ours, mu) - target)
        theirs = theirs - 0.02 * mu * bc.backward(theirs, mu) * (bc.forward(theirs, mu) - target)
        assert bool((ours.abs() <= 1 / mu).all())
        torch.testing.assert_close(ours, theirs)
    beyond = torch.tensor([-1.01, 1.01, 9.0], dtype=torch.float64) / mu
    assert bnn.backward(beyond, mu).tolist() == [0, 0, 0]


@pytest.mark.parametrize("name", ["fp", "bnn++"])
def test_from_minus_infinity_the_integral_diverges(name: str) -> None:
    """``dF / B = 1``: from ``-T`` it is as large as ``T``, for every ``T`` that rounding lets one try."""
    pair, lengths = method(name), []
    for start in (-2.0, -4.0, -8.0):
        w = torch.linspace(start, 0, 80_001, dtype=torch.float64)
        middle = (w[1:] + w[:-1]) / 2
        lengths.append(float((pair.forward(w, 1.0).diff() / pair.backward(middle, 1.0)).sum()))
    assert lengths == pytest.approx([2, 4, 8], rel=1e-3)


def test_the_integral_taken_literally_would_pass_bnn_plus() -> None:
    # P = (2 / mu) 1{w >= 0} is monotone: the integral of dF / B cannot see B where F is flat.
    pair = method("bnn+")
    grid = torch.linspace(-5, 5, 10_000, dtype=torch.float64)
    growth = pair.forward(grid, 1.0).diff()
    integral = (growth / pair.backward(grid[1:], 1.0)).where(growth > 0, 0).cumsum(0)
    assert bool((integral.diff() >= 0).all())
    assert float(integral[-1]) == pytest.approx(2.0, rel=1e-3)
    assert not check(pair).exact
