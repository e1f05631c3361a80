"""The methods by name."""

from __future__ import annotations

import pytest
import torch
from all_maps import ALL_MAPS

import proxconnect as pc
from proxconnect.quantizers import identity, linear_quantizer, projector, reste, sign, slope_of
from proxconnect.quantizers.catalogue import CATALOGUE, NOTES, PAIRS

PLAIN_AND_REPAIRED = [
    ("bnn", "hardtanh"),
    ("bnn+", "bnn++"),
    ("poly", "poly+"),
    ("ede", "ede+"),
    ("reste", "reste+"),
]
PROXIMAL = ("bc", "pc", "binary-relax", "parq")


def test_holds_the_methods_of_the_paper() -> None:
    assert set(pc.methods()) == {
        *("fp", "bc", "pc", "binary-relax", "parq", "bnn", "hardtanh", "bnn+", "bnn++", "bnn++m"),
        *("poly", "poly+", "ede", "ede+", "reste", "reste+"),
    }
    assert list(PAIRS) == list(NOTES) == list(CATALOGUE) == pc.methods()


def test_their_maps_are_among_those_that_all_tests_of_maps_run_on() -> None:
    assert {pc.method(name).forward for name in pc.methods()} <= set(ALL_MAPS)


@pytest.mark.parametrize("name", pc.methods())
def test_every_method_says_where_it_comes_from_and_when_to_use_it(name: str) -> None:
    pair, entry = pc.method(name), CATALOGUE[name]
    assert pair.name == entry.name == name
    assert pair == pc.method(name)
    assert entry.source
    assert entry.use.endswith(".")
    assert pair.forward.formula
    assert pair.forward.source
    assert pair.forward.pieces is not None
    assert pair.backward.signs is not None


@pytest.mark.parametrize(("plain", "repaired"), PLAIN_AND_REPAIRED)
def test_a_repaired_method_pairs_its_forward_with_its_own_slope(plain: str, repaired: str) -> None:
    before, after = pc.method(plain), pc.method(repaired)
    assert before.forward is sign
    assert before.backward == after.backward == slope_of(after.forward)


@pytest.mark.parametrize("name", ["fp", *PROXIMAL])
def test_proximal_methods_pass_the_gradient_on(name: str) -> None:
    assert pc.method(name).backward == slope_of(identity)
    assert pc.method(name).backward(torch.randn(4), 3.0).tolist() == [1.0] * 4


def test_bc_is_the_sign() -> None:
    assert pc.method("bc").forward is sign


@pytest.mark.parametrize("name", PROXIMAL)
@pytest.mark.parametrize("levels", [(-1, 0, 1), [-3, -1, 1, 3]])
def test_levels_reach_the_map(name: str, levels: tuple[int, ...]) -> None:
    forward = pc.method(name, levels=levels).forward
    w = torch.linspace(-4, 4, 81, dtype=torch.float64) + 0.01
    torch.testing.assert_close(forward(w, 1e6), projector(levels)(w, 1.0), rtol=0, atol=1e-5)


def test_parameters_reach_the_map() -> None:
    assert pc.method("pc", rho=0.5, varrho=0.25).forward is linear_quantizer(rho=0.5, varrho=0.25)
    assert pc.method("reste+", m=0.2, t=1.0).forward is reste(0.2, 1.0)
    assert pc.method("reste", t=1.0).backward == slope_of(reste(t=1.0))
    assert CATALOGUE["pc"].parameters == {"levels": (-1.0, 1.0), "rho": None, "varrho": 0.0}
    assert CATALOGUE["bnn"].parameters == {}


@pytest.mark.parametrize(
    ("name", "parameters", "words"),
    [
        ("bnn", {"rho": 1}, "'bnn' takes no parameters, but got rho"),
        ("pc", {"sigma": 1, "rho": 1}, "'pc' takes levels, rho, varrho, but got sigma"),
        ("bc", {"levels": (1, 0)}, "increasing order"),
        ("pc", {"rho": 3}, "smallest gap"),
        ("reste", {"m": -1}, "0 < m < t"),
        ("bnn+++", {}, r"did you mean 'bnn\+\+'"),
    ],
)
def test_refuses_what_it_does_not_know(name: str, parameters: dict[str, object], words: str) -> None:
    with pytest.raises(pc.ProxConnectError, match=words):
        pc.method(name, **parameters)
