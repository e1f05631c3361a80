"""The structure of a pair is the one that it declares, and sampling finds the same."""

from __future__ import annotations

import math

import pytest

from proxconnect.quantizers import ForwardBackward, method
from proxconnect.theory.interval import Interval
from proxconnect.theory.structure.find import structure_of

LINE = Interval(-math.inf, math.inf, False, False)


@pytest.mark.parametrize("name", ["bc", "bnn", "hardtanh", "reste+"])
def test_sampling_finds_what_is_declared(name: str) -> None:
    pair = method(name)
    bare = ForwardBackward(lambda w, mu: pair.forward(w, mu), lambda w, mu: pair.backward(w, mu))
    declared, sampled = structure_of(pair, 2.0, LINE), structure_of(bare, 2.0, LINE)
    assert (declared.evidence.kind, sampled.evidence.kind) == ("declared", "numeric")
    assert [(s.trend, s.sign) for s in sampled.stretches] == [(s.trend, s.sign) for s in declared.stretches]
    assert [s.end for s in sampled.stretches] == pytest.approx([s.end for s in declared.stretches])
    at_points = [(p.at, p.forward, p.backward) for p in sampled.points if p is not None]
    assert at_points == [
        pytest.approx((p.at, p.forward, p.backward)) for p in declared.points if p is not None
    ]
    assert len(at_points) == len(sampled.points) - 2
