"""The elementwise maps against their literal forms, and where floating point is thin."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from proxconnect.quantizers import ElementwiseMap, hard_tanh, identity, sign, sign_swish

MAPS = (identity, sign, hard_tanh, sign_swish)
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
numbers = st.floats(-1e3, 1e3, allow_subnormal=False)
sharpness = st.floats(1e-2, 1e3)


def reference(map_: ElementwiseMap, w: float, mu: float) -> tuple[float, float]:
    """Value and slope in the paper's notation, in Python floats."""
    u = mu * w
    if map_ is identity:
        return w, 1.0
    if map_ is sign:
        return (1.0 if w >= 0 else -1.0), 0.0
    if map_ is hard_tanh:
        return min(max(u, -1.0), 1.0), (mu if abs(u) <= 1 else 0.0)
    s = 1 / (1 + math.exp(-u)) if u > -700 else 0.0
    sech_squared = 4 * s * (1 - s)
    return 2 * s * (1 + u * (1 - s)) - 1, mu * sech_squared * (1 - (u / 2) * math.tanh(u / 2))


@pytest.mark.parametrize("map_", MAPS, ids=lambda m: m.name)
@given(w=numbers, mu=sharpness)
def test_equals_the_literal_form(map_: ElementwiseMap, w: float, mu: float) -> None:
    value, slope = reference(map_, w, mu)
    argument = torch.tensor([w], dtype=torch.float64)
    assert map_(argument, mu).item() == pytest.approx(value, rel=1e-12, abs=1e-12)
    assert map_.slope(argument, mu).item() == pytest.approx(slope, rel=1e-9, abs=1e-9 * mu)


@pytest.mark.parametrize("map_", [hard_tanh, sign_swish], ids=lambda m: m.name)
@given(w=st.floats(-5, 5), mu=st.floats(0.1, 10))
def test_slope_is_the_derivative(map_: ElementwiseMap, w: float, mu: float) -> None:
    step = 1e-6
    if map_ is hard_tanh and abs(abs(mu * w) - 1) < 1e-3:
        return  # the kink
    points = torch.tensor([w - step, w + step], dtype=torch.float64)
    low, high = map_(points, mu).tolist()
    slope = map_.slope(torch.tensor([w], dtype=torch.float64), mu).item()
    assert slope == pytest.approx((high - low) / (2 * step), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("map_", [sign, hard_tanh, sign_swish], ids=lambda m: m.name)
@pytest.mark.parametrize("mu", [1e-3, 1.0, 1e4])
def test_extreme_arguments_stay_finite(map_: ElementwiseMap, dtype: torch.dtype, mu: float) -> None:
    largest = torch.finfo(dtype).max
    w = torch.tensor([-math.inf, -largest, -1.0, -0.0, 0.0, 1.0, largest, math.inf], dtype=dtype)
    for sharp in (mu, torch.tensor(mu)):
        value, slope = map_(w, sharp), map_.slope(w, sharp)
        assert value.dtype == slope.dtype == dtype
        assert torch.isfinite(value).all()
        assert torch.isfinite(slope).all()
        assert value[0] == -1
        assert value[-1] == 1
        assert slope[0] == slope[-1] == 0


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_zero_has_the_sign_plus_one(dtype: torch.dtype) -> None:
    assert sign(torch.tensor([0.0, -0.0], dtype=dtype), 1.0).tolist() == [1.0, 1.0]


def test_sign_swish_turns_where_the_paper_says() -> None:
    w = torch.linspace(0, 6, 600_001, dtype=torch.float64)
    value = sign_swish(w, 1.0)
    assert w[value.argmax()].item() == pytest.approx(2.39936, abs=1e-5)
    assert value.max().item() == pytest.approx(1.19968, abs=1e-5)
    assert (sign_swish.slope(w, 1.0)[w > 2.3994] < 0).all()


def test_sign_swish_closes_onto_sign() -> None:
    w = torch.cat([-torch.logspace(-2, 2, 50), torch.logspace(-2, 2, 50)]).double()
    torch.testing.assert_close(sign_swish(w, 1e4), sign(w, 1e4), rtol=0, atol=1e-12)
