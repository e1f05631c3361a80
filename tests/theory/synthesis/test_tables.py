"""Tables of training equal what they tabulate: the maps of the catalogue, and the integral by quadrature."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from looking import every
from torch import Tensor, nn

import proxconnect as pc
from proxconnect.kernels import active_kernels, kernel_sets, use_kernels
from proxconnect.layers._compiled import compiled_pair
from proxconnect.quantizers import ForwardBackward, method
from proxconnect.theory.synthesis._integral import Integral
from proxconnect.theory.synthesis._tabulation import TOLERANCE

EPS = torch.finfo(torch.float32).eps
REPAIRED = {"bnn": "hardtanh", "bnn+": "bnn++", "poly": "poly+", "ede": "ede+", "reste": "reste+"}


def integral_pair(pair: ForwardBackward) -> ForwardBackward:
    """Repair a pair by its integral, as if no map of the catalogue were known."""

    def backward(w: Tensor, mu: float) -> Tensor:
        return pair.backward(w, mu)

    return ForwardBackward(Integral(backward, pair.forward), backward)


def latents() -> Tensor:
    """Make weights of many sizes: from denormal to the largest, 0, infinite and NaN."""
    torch.manual_seed(0)
    sizes = torch.randn(4000) * 10.0 ** torch.empty(4000).uniform_(-6, 3)
    wide = torch.randn(1000) * 2.0 ** torch.randint(-148, 126, (1000,))
    special = torch.tensor([0.0, -0.0, 1e-45, -1e-40, 1.0, -1.0, 3e38, -3e38, math.inf, -math.inf])
    return torch.cat([torch.randn(4000), sizes, wide, special])


@pytest.mark.parametrize("name", REPAIRED)
def test_the_tables_of_a_slope_are_the_map_and_its_slope(name: str) -> None:
    pair, expected, w = integral_pair(method(name)), method(REPAIRED[name]), latents()
    compiled, wide = compiled_pair(pair), w.double()
    for mu in (0.1, 1.0, 7.3, 100.0, 1e4):
        value = compiled.value.value(w, mu)
        end = float(expected.forward(torch.tensor(math.inf), mu))
        bound = TOLERANCE / 16 + 4 * EPS
        torch.testing.assert_close(value.double(), expected.forward(wide, mu), rtol=0, atol=bound * end)
        assert torch.equal(value, pair.forward(w, mu))
        slope = compiled.slope.gradient(w, mu, torch.ones_like(w)).double()
        # Where the slope jumps, it may do so one rounding of the latent away.
        near = torch.stack([expected.backward(wide * (1 + k * EPS), mu) for k in (-1, 0, 1)])
        error = (slope - slope.clamp(near.amin(0), near.amax(0))).abs()
        assert every(error <= 2 * TOLERANCE * near.abs().amax())


def test_every_kernel_set_and_torch_look_up_the_same_bits() -> None:
    w, before = torch.cat([latents(), torch.tensor([math.nan])]), active_kernels()
    pair = integral_pair(method("bnn"))
    compiled, found = compiled_pair(pair), [pair.forward(w, 3.0)]
    for name in kernel_sets():
        use_kernels(name)
        found.append(compiled.value.value(w, 3.0))
    use_kernels(before)
    assert every(torch.equal(found[0][:-1], other[:-1]) and other[-1].isnan() for other in found)


SHAPES: dict[str, Callable[[Tensor], Tensor]] = {
    "bell": lambda u: torch.exp(-(u**2)),
    "step": lambda u: (u.abs() <= 1).to(u),
    "triangle": lambda u: (1 - u.abs()).clamp(min=0),
    "tail": lambda u: 1 / (1 + u**2),
    "two steps": lambda u: 1 + (u > 0).to(u) + (u > 1).to(u),
}


@given(st.sampled_from(sorted(SHAPES)), st.floats(-2, 2), st.floats(0.02, 5), st.floats(0.1, 10))
@settings(max_examples=4, deadline=None)
def test_a_table_is_within_its_bound_of_the_quadrature(
    shape: str, centre: float, width: float, mu: float
) -> None:
    """``B`` scales with ``mu``, and its features lie anywhere."""

    def backward(w: Tensor, mu: float) -> Tensor:
        return SHAPES[shape]((w - centre) * mu / width)

    integral = Integral(backward, method("bc").forward)
    w = torch.cat([torch.randn(3000) * width / mu + centre, latents()])
    w = w[w.abs() < 1e30]
    exact = integral(w.double(), mu)
    size = 1 + exact.abs()
    assert every((integral(w, mu).double() - exact).abs() <= (TOLERANCE + 8 * EPS) * size)


def test_a_moving_sharpness_makes_a_table_only_where_it_has_to() -> None:
    calls = []

    def scaled(w: Tensor, mu: float) -> Tensor:
        calls.append(w.numel())
        return mu / (1 + (mu * w) ** 2)

    pair = ForwardBackward(Integral(scaled, method("bc").forward, (-1.0, 1.0)), scaled)
    layer = pc.binarize_(nn.Linear(50, 40), pc.BinarizeConfig(pair), lambda module, name: True)
    schedule = pc.MuSchedule(layer, "exponential", start=1, end=100, steps=20)
    layer.weight.sum().backward()
    calls.clear()
    for _ in range(10):
        schedule.step()
        layer.weight.sum().backward()
    assert sum(calls) <= 10  # one latent for the height of B at each sharpness


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_a_layer_trains_with_the_tables(shift: float) -> None:
    """Weights and gradients are those of the formula, though ``mu`` moves, also between the passes."""
    torch.manual_seed(0)

    def slope(w: Tensor, mu: float) -> Tensor:
        return mu / torch.cosh(mu * (w - shift)) ** 2

    pair = ForwardBackward(Integral(slope, method("bc").forward, (-1.0, 1.0)), slope)
    layer = pc.binarize_(nn.Linear(150, 40), pc.BinarizeConfig(pair), lambda module, name: True)
    quantizer, latent = layer.parametrizations.weight[0], layer.parametrizations.weight.original
    g = torch.randn(40, 150)
    for mu in (1.0, 2.5, 40.0):
        quantizer.mu.fill_(mu)
        weight = layer.weight
        quantizer.mu.fill_(1000.0)
        (gradient,) = torch.autograd.grad(weight, latent, g)
        wide = latent.detach().double()
        s, alpha = quantizer.latent_scale, quantizer.scale(latent)
        low, high = (math.tanh(mu * (end - shift)) for end in (-1e9, 1e9))
        codes = (2 * torch.tanh(mu * (wide / s - shift)) - low - high) / (high - low)
        torch.testing.assert_close(weight.detach().double(), alpha * codes, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(
            gradient.double(), slope(wide / s, mu) * g * alpha / s, rtol=1e-4, atol=1e-5 * mu
        )
