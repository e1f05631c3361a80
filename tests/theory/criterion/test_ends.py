"""The ends of F: its limits far out, at one sharpness and as the sharpness grows."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import proxconnect as pc
from proxconnect.theory.criterion.ends import Ends, ends_of

INF = math.inf
Map = Callable[[Tensor, float], Tensor]

# The ends at mu = 2, and as mu grows.
CASES: dict[str, tuple[Map, tuple[float, float], tuple[float, float]]] = {
    "fades": (lambda w, mu: torch.atan(mu * w) / mu, (-math.pi / 4, math.pi / 4), (0, 0)),
    "fades slowly": (lambda w, mu: torch.tanh(mu * w) / mu**0.25, (-(2**-0.25), 2**-0.25), (0, 0)),
    "grows": (lambda w, mu: mu * torch.tanh(w), (-2, 2), (-INF, INF)),
    "stays": (lambda w, mu: torch.sigmoid(mu * w), (0, 1), (0, 1)),
    "tends to 1": (lambda w, mu: (1 + 1 / mu) * torch.tanh(w), (-1.5, 1.5), (-1, 1)),
    "unbounded": (lambda w, mu: 0.1 * w, (-INF, INF), (-INF, INF)),
    "grows like a logarithm": (lambda w, mu: w.sign() * w.abs().log1p(), (-INF, INF), (-INF, INF)),
    "bounded on one side": (lambda w, mu: w.clamp(min=-3), (-3, INF), (-3, INF)),
    "overflows far out": (lambda w, mu: mu * w / (1 + (mu * w) ** 2).sqrt(), (-1, 1), (-1, 1)),
    "overflows early": (lambda w, mu: 2 * (mu * w).exp() / (1 + (mu * w).exp()) - 1, (-1, 1), (-1, 1)),
    "in float32": (lambda w, mu: torch.tanh(mu * w.float()).to(w.dtype), (-1, 1), (-1, 1)),
}


@pytest.mark.parametrize("name", CASES)
def test_ends_by_hand(name: str) -> None:
    function, now, grown = CASES[name]
    ends = ends_of(function, 2.0)
    assert (ends.low, ends.high) == pytest.approx(now, rel=1e-6)
    assert ends.as_mu_grows == pytest.approx(grown, rel=1e-4)
    assert ends.fades == name.startswith("fades")


def test_a_wave_ends_nowhere_that_is_known() -> None:
    assert math.isnan(ends_of(lambda w, mu: torch.sin(w), 1.0).high)


@pytest.mark.parametrize("name", pc.methods())
def test_the_catalogue_ends_at_its_levels_or_nowhere(name: str) -> None:
    pair = pc.method(name)
    ends = ends_of(pair.forward, 1.0)
    assert ends.approach((-1.0, 1.0)) == (name not in ("fp", "binary-relax"))
    bare = ends_of(lambda w, mu: pair.forward(w, mu), 1.0)
    assert (bare.low, bare.high) == pytest.approx((ends.low, ends.high))
    assert bare.as_mu_grows == pytest.approx(ends.as_mu_grows, rel=1e-4)


def test_a_verdict_says_where_f_ends() -> None:
    fading = pc.ForwardBackward(lambda w, mu: torch.atan(mu * w) / mu, name="fading")
    verdict = pc.check(fading, mu=2.0)
    assert verdict.exact
    assert "F ends at: -0.785398 and 0.785398; as mu grows, 0 and 0: F fades to nothing" in str(verdict)
    assert verdict.to_dict()["ends_as_mu_grows"] == [0, 0]
    assert verdict.to_dict()["ends"] == pytest.approx([-math.pi / 4, math.pi / 4])
    assert pc.check("fp").to_dict()["ends"] == ["-inf", "inf"]
    assert pc.check(fading, domain=(-1, 1)).ends == Ends(
        *[pytest.approx(side * math.atan(1)) for side in (-1, 1)], (0.0, 0.0)
    )
