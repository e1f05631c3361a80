"""Every map against its literal form, and where floating point is thin."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from proxconnect import ProxConnectError
from proxconnect.quantizers import (
    ElementwiseMap,
    binary_relax,
    hard_tanh,
    identity,
    linear_quantizer,
    monotone_sign_swish,
    parq,
    polynomial,
    projector,
    reste,
    sign,
    sign_swish,
    soft_threshold,
    tanh,
    w_shaped,
)

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
Levels = Sequence[float]
arguments = st.floats(-1e3, 1e3, allow_subnormal=False) | st.floats(-4, 4, allow_subnormal=False)
sharpness = st.floats(1e-2, 1e3)
level_sets = st.lists(st.integers(-8, 8), min_size=2, max_size=5, unique=True).map(
    lambda found: tuple(level / 2 for level in sorted(found))
)


def value_at(map_: ElementwiseMap, w: float, mu: float) -> float:
    return map_(torch.tensor([w], dtype=torch.float64), mu).item()


def slope_at(map_: ElementwiseMap, w: float, mu: float) -> float:
    return map_.slope(torch.tensor([w], dtype=torch.float64), mu).item()


def clip(x: float, low: float, high: float) -> float:
    return min(max(x, low), high)


def sgn(x: float) -> float:
    return 1.0 if x >= 0 else -1.0


def literal_sign_swish(w: float, mu: float) -> float:
    u = mu * w
    s = 1 / (1 + math.exp(-u)) if u > -700 else 0.0
    return 2 * s * (1 + u * (1 - s)) - 1


def literal_sign_swish_slope(w: float, mu: float) -> float:
    u = mu * w
    s = 1 / (1 + math.exp(-u)) if u > -700 else 0.0
    return mu * 4 * s * (1 - s) * (1 - (u / 2) * math.tanh(u / 2))


def literal_polynomial(w: float, mu: float) -> float:
    u = mu * w
    if -1 <= u < 0:
        return 2 * u + u**2
    return 2 * u - u**2 if 0 <= u < 1 else sgn(u)


def literal_reste(w: float, o: float) -> float:
    # The integral of the slope, piece by piece.
    m, t, a = 0.1, 1.5, abs(w)
    linear = min(a, m) * m ** (1 / o - 1)
    power = min(a, t) ** (1 / o) - m ** (1 / o) if a > m else 0.0
    return math.copysign(linear + power, w)


def literal_reste_slope(w: float, o: float) -> float:
    m, t, a = 0.1, 1.5, abs(w)
    if a <= m:
        return m ** (1 / o - 1)
    return (1 / o) * a ** (1 / o - 1) if a <= t else 0.0


ROOT = 1.1996786402577338

SMOOTH: dict[
    str, tuple[ElementwiseMap, Callable[..., float], Callable[..., float], st.SearchStrategy[float]]
] = {
    "identity": (identity, lambda w, mu: w, lambda w, mu: 1.0, sharpness),
    "sign": (sign, lambda w, mu: sgn(w), lambda w, mu: 0.0, sharpness),
    "hard tanh": (
        hard_tanh,
        lambda w, mu: clip(mu * w, -1, 1),
        lambda w, mu: mu if abs(mu * w) <= 1 else 0.0,
        sharpness,
    ),
    "tanh": (
        tanh,
        lambda w, t: max(1 / t, 1) * math.tanh(t * w),
        lambda w, t: max(1 / t, 1) * t / math.cosh(clip(t * w, -300, 300)) ** 2,
        sharpness,
    ),
    "polynomial": (
        polynomial,
        literal_polynomial,
        lambda w, mu: mu * (2 - 2 * abs(mu * w)) if abs(mu * w) < 1 else 0.0,
        sharpness,
    ),
    "sign-swish": (sign_swish, literal_sign_swish, literal_sign_swish_slope, sharpness),
    "monotone sign-swish": (
        monotone_sign_swish,
        lambda w, mu: literal_sign_swish(w, mu) / ROOT if abs(mu * w) < 2 * ROOT else sgn(w),
        lambda w, mu: literal_sign_swish_slope(w, mu) / ROOT if abs(mu * w) < 2 * ROOT else 0.0,
        sharpness,
    ),
    "reste": (reste(), literal_reste, literal_reste_slope, st.floats(1, 1e3)),
    "soft threshold": (
        soft_threshold,
        lambda w, mu: math.copysign(max(abs(w) - mu, 0.0), w),
        lambda w, mu: 1.0 if abs(w) > mu else 0.0,
        sharpness,
    ),
}


@pytest.mark.parametrize("name", SMOOTH)
@given(data=st.data())
def test_equals_its_literal_form(name: str, data: st.DataObject) -> None:
    map_, value, slope, mus = SMOOTH[name]
    w, mu = data.draw(arguments), data.draw(mus)
    assert value_at(map_, w, mu) == pytest.approx(value(w, mu), rel=1e-12, abs=1e-12)
    assert slope_at(map_, w, mu) == pytest.approx(slope(w, mu), rel=1e-9, abs=1e-9 * mu)


def literal_projector(w: float, levels: Levels) -> float:
    # In exact arithmetic: both distances from a tiny w to -1 and 1 round to 1.
    return min(sorted(levels, reverse=True), key=lambda q: abs(Fraction(w) - Fraction(q)))


def literal_linear(w: float, levels: Levels, rho: float, varrho: float) -> float:
    """L(rho, varrho) by the four families of points of PC."""
    q, count = levels, len(levels)
    p = [math.nan, *((low + high) / 2 for low, high in pairwise(q)), math.nan]
    p_plus = [q[0], *(min(q[k], p[k] + rho / 2) for k in range(1, count))]
    p_minus = [*(max(q[k - 1], p[k] - rho / 2) for k in range(1, count)), q[-1]]
    q_minus = [q[0], *(max(p[k], q[k] - varrho / 2) for k in range(1, count))]
    q_plus = [*(min(p[k + 1], q[k] + varrho / 2) for k in range(count - 1)), q[-1]]
    if w <= q[0] or w >= q[-1]:
        return clip(w, q[0], q[-1])
    for k in range(count):
        if p_plus[k] <= w <= p_minus[k] and p_plus[k] < p_minus[k]:
            return q_minus[k] + (q_plus[k] - q_minus[k]) * (w - p_plus[k]) / (p_minus[k] - p_plus[k])
    for k in range(count - 1):
        if p_minus[k] <= w <= p_plus[k + 1]:
            rise = (w - p_minus[k]) / (p_plus[k + 1] - p_minus[k])
            return q_plus[k] + (q_minus[k + 1] - q_plus[k]) * rise
    raise AssertionError("the pieces cover the line")


def literal_parq(w: float, levels: Levels, s: float) -> float:
    low, high = next((pair for pair in pairwise(levels) if w < pair[1]), levels[-2:])
    c = (low + high) / 2
    return clip(c + (w - c) / s, low, high)


@given(w=arguments, levels=level_sets)
def test_projector_is_the_nearest_level_with_ties_up(w: float, levels: Levels) -> None:
    assert value_at(projector(levels), w, 1.0) == literal_projector(w, levels)
    for middle in ((low + high) / 2 for low, high in pairwise(levels)):
        assert value_at(projector(levels), middle, 1.0) == literal_projector(middle, levels) > middle


@given(w=arguments, levels=level_sets, rho=st.floats(0.02, 1), varrho=st.floats(0, 1))
def test_linear_quantizer_is_the_one_of_proxconnect(
    w: float, levels: Levels, rho: float, varrho: float
) -> None:
    room = min(high - low for low, high in pairwise(levels))
    rho *= room
    varrho *= room - rho
    expected = literal_linear(w, levels, rho, varrho)
    assert value_at(linear_quantizer(levels, rho, varrho), w, 1.0) == pytest.approx(expected, abs=1e-10)


@given(w=arguments, levels=level_sets, mu=st.floats(1, 1e2))
def test_linear_quantizer_takes_its_width_from_mu(w: float, levels: Levels, mu: float) -> None:
    room = min(high - low for low, high in pairwise(levels))
    expected = literal_linear(w, levels, room / mu, 0.0)
    assert value_at(linear_quantizer(levels), w, mu) == pytest.approx(expected, abs=1e-10)


@given(w=arguments, mu=st.floats(1, 1e3))
def test_linear_quantizer_on_two_levels_is_a_clip(w: float, mu: float) -> None:
    rho = 2 / mu
    assert value_at(linear_quantizer(), w, mu) == pytest.approx(clip(2 * w / rho, -1, 1), rel=1e-12)


@given(w=arguments, levels=level_sets)
def test_linear_quantizer_without_widths_is_the_projector(w: float, levels: Levels) -> None:
    assert linear_quantizer(levels, rho=0, varrho=0) is projector(levels)


@given(w=st.floats(-3, 3), share=st.floats(0, 1))
def test_linear_quantizer_of_full_width_is_the_identity_on_the_hull(w: float, share: float) -> None:
    assume(share == 0 or share >= 1e-6)  # a steeper ramp is one that rounding does not resolve
    full = linear_quantizer((-2, 0, 2), rho=2 * share, varrho=2 - 2 * share)
    assert value_at(full, w, 1.0) == pytest.approx(clip(w, -2, 2), abs=1e-9)


def test_linear_quantizer_without_room_for_ramps() -> None:
    w = torch.linspace(-1, 1, 9)
    torch.testing.assert_close(linear_quantizer(varrho=2)(w, 3.0), w)


@given(w=arguments, levels=level_sets, s=st.floats(1e-3, 1))
def test_parq_clips_around_the_middle_of_the_gap(w: float, levels: Levels, s: float) -> None:
    expected = literal_parq(w, levels, s)
    # Where the ramp is steep the rounding of 1/s is multiplied by it.
    assert value_at(parq(levels), w, 1 / s) == pytest.approx(expected, rel=1e-10, abs=1e-10)


@given(w=arguments, v=st.floats(0.1, 10), s=st.floats(1e-2, 1))
def test_parq_of_one_bit_is_a_clip_and_linear_quantizer(w: float, v: float, s: float) -> None:
    quantized = value_at(parq((-v, v)), w, 1 / s)
    assert quantized == pytest.approx(clip(w / s, -v, v), rel=1e-12)
    assert quantized == pytest.approx(value_at(linear_quantizer((-v, v), rho=2 * v * s), w, 1.0), rel=1e-10)


@given(w=arguments, levels=level_sets, lam=st.floats(0, 1e3))
def test_w_shaped_and_binary_relax_move_towards_the_nearest_level(
    w: float, levels: Levels, lam: float
) -> None:
    q = literal_projector(w, levels)
    shrunk = math.copysign(max(abs(w - q) - lam, 0), w - q)
    assert value_at(w_shaped(levels), w, lam) == pytest.approx(q + shrunk, rel=1e-12, abs=1e-12)
    relaxed = (w + lam * q) / (1 + lam)
    assert value_at(binary_relax(levels), w, lam) == pytest.approx(relaxed, rel=1e-12, abs=1e-12)


def places_of_change(map_: ElementwiseMap, mu: float) -> list[float]:
    assert map_.pieces is not None
    return [piece.end for piece in map_.pieces(mu)[:-1]]


@settings(max_examples=30, deadline=None)
@given(w=st.floats(-5, 5), mu=st.floats(0.1, 10))
def test_slope_is_the_derivative(any_map: ElementwiseMap, w: float, mu: float) -> None:
    step = 1e-6
    assume(all(abs(w - place) >= 2 * step for place in places_of_change(any_map, mu)))
    points = torch.tensor([w - step, w + step], dtype=torch.float64)
    low, high = any_map(points, mu).tolist()
    assert slope_at(any_map, w, mu) == pytest.approx((high - low) / (2 * step), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_extreme_arguments_stay_sound(any_map: ElementwiseMap, dtype: torch.dtype, mu: float) -> None:
    largest, smallest = torch.finfo(dtype).max, torch.finfo(dtype).smallest_normal
    finite = [-largest, -1e3, -1.0, -smallest, -0.0, 0.0, smallest, 0.25, 1.0, largest]
    w = torch.tensor([-math.inf, *finite, math.inf], dtype=dtype)
    first, last = any_map.pieces(mu)[0], any_map.pieces(mu)[-1]
    for sharp in (mu, torch.tensor(mu)):
        before = w.clone()
        value, slope = any_map(w, sharp), any_map.slope(w, sharp)
        assert torch.equal(w, before)
        assert value.dtype == slope.dtype == dtype
        assert value.shape == slope.shape == w.shape
        assert torch.isfinite(value[1:-1]).all()
        assert torch.isfinite(slope).all()
        # A tensor mu is a float32 buffer, whatever the dtype of the weights.
        limits = torch.tensor([first.start_value, last.end_value], dtype=dtype)
        tolerance = max(1e-6, torch.finfo(dtype).eps)
        torch.testing.assert_close(value[[0, -1]], limits, rtol=tolerance, atol=0)


@pytest.mark.parametrize("dtype", DTYPES[:3], ids=str)
def test_low_precision_rounds_what_float64_computes(any_map: ElementwiseMap, dtype: torch.dtype) -> None:
    w = torch.linspace(-4, 4, 333).to(dtype)
    for mu in (0.5, 1.0, 3.0):
        places = torch.tensor(places_of_change(any_map, mu) or [math.inf], dtype=torch.float64)
        away = ((w.double().unsqueeze(1) - places).abs() > 0.05).all(dim=1)
        exact = any_map(w.double(), mu)
        tolerance = 16 * torch.finfo(dtype).eps
        torch.testing.assert_close(any_map(w, mu).double()[away], exact[away], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_monotone_sign_swish_never_turns_back(dtype: torch.dtype) -> None:
    w = torch.linspace(2.3, 2.5, 20_001, dtype=torch.float64).to(dtype)
    assert (monotone_sign_swish.slope(w, 1.0) >= 0).all()
    assert (monotone_sign_swish(w, 1.0) <= 1).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_linear_quantizer_stays_in_the_hull(dtype: torch.dtype) -> None:
    levels = (0.1, 0.4, 0.7)
    low, high = torch.tensor([levels[0], levels[-1]], dtype=dtype)
    w = torch.linspace(-3, 3, 2001, dtype=torch.float64).to(dtype)
    for map_ in (linear_quantizer(levels), linear_quantizer(levels, rho=0.1, varrho=0.15)):
        for mu in (1.0, 1.3, 7.0):
            assert (map_(w, mu) >= low).all()
            assert (map_(w, mu) <= high).all()


def test_accepts_every_shape(any_map: ElementwiseMap) -> None:
    for shape in ((), (0,), (2, 3, 1, 4)):
        w = torch.zeros(shape)
        assert any_map(w, 2.0).shape == any_map.slope(w, 2.0).shape == shape


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_zero_has_the_sign_plus_one(dtype: torch.dtype) -> None:
    w = torch.tensor([0.0, -0.0], dtype=dtype)
    for map_ in (sign, projector(), linear_quantizer(rho=0, varrho=0)):
        assert map_(w, 1.0).tolist() == [1.0, 1.0]


WITH_LIMITS: list[tuple[ElementwiseMap, Levels]] = [
    *((map_, (-1, 1)) for map_ in (hard_tanh, tanh, polynomial, sign_swish, monotone_sign_swish)),
    *((map_, (-1, 1)) for map_ in (reste(), reste(0.2, 3), soft_threshold)),
    *(
        (make(levels), levels)
        for make in (linear_quantizer, parq, binary_relax, w_shaped)
        for levels in ((-1, 1), (-1, 0, 1), (-2.5, -0.75, 0.25, 3))
    ),
    *((linear_quantizer(levels, varrho=0.4), levels) for levels in ((-1, 1), (-1, 0, 1))),
]


def stated_limit(text: str, levels: Levels) -> Callable[[float], float]:
    """Evaluate a limit as maps write it."""
    words: dict[str, Callable[[float], float]] = {
        "0": lambda w: 0.0,
        "w": lambda w: w,
        "sign(w)": sgn,
        "P_Q(w)": lambda w: literal_projector(w, levels),
        "c": lambda w: sum(next((p for p in pairwise(levels) if w < p[1]), levels[-2:])) / 2,
    }
    if text in words:
        return words[text]
    if found := re.fullmatch(r"L\((.+), (.+)\)", text):
        rho, varrho = map(float, found.groups())
        return lambda w: literal_linear(w, levels, rho, varrho)
    found = re.fullmatch(r"clip\(w( / .+)?, (.+), (.+)\)", text)
    assert found, text
    divisor, low, high = found.groups(default=" / 1")
    return lambda w: clip(w / float(divisor.removeprefix(" / ")), float(low), float(high))


@pytest.mark.parametrize(("map_", "levels"), WITH_LIMITS, ids=lambda x: getattr(x, "name", str(x)))
def test_tends_to_the_limits_that_it_declares(map_: ElementwiseMap, levels: Levels) -> None:
    w = torch.linspace(-4, 4, 97, dtype=torch.float64) + 0.0123
    for mu, text in zip((1e-7, 1e7), map_.limits, strict=True):
        expected = [stated_limit(text, levels)(x) for x in w.tolist()]
        assert map_(w, mu).tolist() == pytest.approx(expected, abs=2e-6)


def test_maps_without_limits_ignore_mu(any_map: ElementwiseMap) -> None:
    w = torch.linspace(-4, 4, 97, dtype=torch.float64)
    ignores = torch.equal(any_map(w, 0.2), any_map(w, 0.7)) and torch.equal(any_map(w, 2.0), any_map(w, 9.0))
    assert ignores == (not any_map.limits)


def test_reste_at_its_ends() -> None:
    w = torch.linspace(-2, 2, 401, dtype=torch.float64)
    torch.testing.assert_close(reste()(w, 1.0), w.clamp(-1.5, 1.5))
    torch.testing.assert_close(reste()(w, 1e7), (w / 0.1).clamp(-1, 1), rtol=0, atol=1e-5)


def test_equal_arguments_give_the_same_map() -> None:
    assert projector([-1, 1]) is sign
    assert parq([-1, 0, 1]) is parq((-1.0, 0.0, 1.0))
    assert reste(0.1, 2) is reste(m=0.1, t=2.0)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: projector((1, -1)), "increasing order, such as .*, not \\(1.0, -1.0\\)"),
        (lambda: projector((1,)), "at least two"),
        (lambda: projector((-1, math.nan)), "finite"),
        (lambda: projector((-math.inf, 1)), "finite"),
        (lambda: parq("ab"), "levels must be numbers"),
        (lambda: binary_relax(3), "levels must be numbers"),
        (lambda: linear_quantizer(rho=-1), "must not be negative"),
        (lambda: linear_quantizer(varrho=-1), "must not be negative"),
        (lambda: linear_quantizer((-1, 0, 1), rho=0.75, varrho=0.5), "more than 1, the smallest gap"),
        (lambda: linear_quantizer(rho=math.nan), "but are nan and 0.0"),
        (lambda: reste(m=0), "0 < m < t"),
        (lambda: reste(t=math.inf), "0 < m < t"),
    ],
)
def test_refuses_bad_parameters(make: Callable[[], ElementwiseMap], words: str) -> None:
    with pytest.raises(ProxConnectError, match=words):
        make()
