"""Accumulators of a few bits: bit for bit what integer hardware does, and what they tell of themselves."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import proxconnect as pc
from proxconnect.layers import Accumulator, collect_accumulators, latent_weight
from proxconnect.quantizers import sign


def everything(module: nn.Module, name: str) -> bool:
    return True


def layer_of(module: nn.Module, **values: object) -> nn.Module:
    config = pc.BinarizeConfig.from_setting("bwaa", method="bc", scale=None, **values)
    return pc.binarize_(module, config, everything)


def int8_sum(terms: np.ndarray) -> int:
    """Add terms of -1 and +1 one by one in a register of eight bits."""
    register = np.zeros(1, dtype=np.int8)
    for term in terms.astype(np.int8):
        register += term
    return int(register[0])


def wrapped_sum(terms: np.ndarray, bits: int) -> int:
    """Add terms one by one in a register of any width."""
    total = 0
    for term in terms.astype(int):
        total += term
        if total >= 2 ** (bits - 1):
            total -= 2**bits
        if total < -(2 ** (bits - 1)):
            total += 2**bits
    return total


def saturated_sum(terms: np.ndarray, bits: int) -> int:
    return int(np.clip(terms.astype(int).sum(), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1))


def conv_terms(x: np.ndarray, q: np.ndarray, conv: nn.Conv2d) -> np.ndarray:
    """All products of a convolution, (N, O, H, W, terms), by loops: a padded place contributes 0."""
    (stride, _), (padding, _), (dilation, _) = conv.stride, conv.padding, conv.dilation
    batch, _, height, width = x.shape
    out, per_group, k, _ = q.shape
    span = dilation * (k - 1) + 1
    rows, columns = (1 + (size + 2 * padding - span) // stride for size in (height, width))
    terms = np.zeros((batch, out, rows, columns, per_group * k * k))
    for n, o, i, j in np.ndindex(batch, out, rows, columns):
        first = (o // (out // conv.groups)) * per_group
        for t, (c, a, b) in enumerate(np.ndindex(per_group, k, k)):
            row, column = (p * stride - padding + d * dilation for p, d in ((i, a), (j, b)))
            if 0 <= row < height and 0 <= column < width:
                terms[n, o, i, j, t] = x[n, first + c, row, column] * q[o, c, a, b]
    return terms


def signs(x: Tensor) -> np.ndarray:
    return sign(x.detach(), 1.0).numpy()


@pytest.mark.parametrize("inputs", [127, 128, 300, 700])
def test_linear_is_an_int8_accumulator(inputs: int) -> None:
    torch.manual_seed(inputs)
    linear, x = nn.Linear(inputs, 6), torch.randn(5, inputs)
    with torch.no_grad():
        linear.weight[0] = 1.0  # whole rows of one sign reach far beyond eight bits
    x[0] = x[0].abs()
    q, bias = signs(linear.weight), linear.bias.detach().clone()
    expected = [[int8_sum(row * channel) for channel in q] for row in signs(x)]
    found = layer_of(linear)
    for layer in (found, pc.harden_(copy.deepcopy(found))):
        assert torch.equal(layer(x), torch.tensor(expected, dtype=torch.float32) + bias)


@pytest.mark.parametrize("overflow", ["wrap", "saturate"])
@pytest.mark.parametrize(
    "options",
    [
        {"padding": 1},
        {"padding": 1, "stride": 2},
        {"padding": 2, "dilation": 2, "groups": 2},
        {"groups": 4, "bias": False},
    ],
    ids=str,
)
def test_convolution_is_an_int8_accumulator(options: dict[str, int], overflow: str) -> None:
    torch.manual_seed(0)
    conv, x = nn.Conv2d(32, 8, 3, **options), torch.randn(2, 32, 5, 6)
    with torch.no_grad():
        conv.weight[:4] = 1.0
        x[0] = 1.0
    bias = 0 if conv.bias is None else conv.bias.detach().clone()[:, None, None]
    terms = conv_terms(signs(x), signs(conv.weight), conv)
    add = int8_sum if overflow == "wrap" else lambda row: saturated_sum(row, 8)
    expected = np.apply_along_axis(add, -1, terms).astype(np.float32)
    found = layer_of(conv, overflow=overflow)
    for layer in (found, pc.harden_(copy.deepcopy(found))):
        assert torch.equal(layer(x), torch.from_numpy(expected) + bias)


@settings(max_examples=25, deadline=None)
@given(bits=st.integers(4, 16), count=st.integers(1, 600), seed=st.integers(0, 99), lean=st.floats(0, 1))
def test_every_width_is_a_register_of_that_width(bits: int, count: int, seed: int, lean: float) -> None:
    """Sums lean to one side, so that they leave the range."""
    draw = np.random.default_rng(seed)
    terms = np.where(draw.random(count) < lean, 1.0, -1.0)
    exact = torch.tensor([terms.sum()])
    assert Accumulator(bits, "wrap")(exact).item() == wrapped_sum(terms, bits)
    assert Accumulator(bits, "saturate")(exact).item() == saturated_sum(terms, bits)


@pytest.mark.full
def test_every_width_on_every_sum() -> None:
    sums = torch.arange(-70_000, 70_001)
    for bits in range(4, 17):
        wrapped = Accumulator(bits, "wrap")(sums.double())
        assert ((wrapped - sums) % 2**bits == 0).all()
        assert wrapped.min() == -(2 ** (bits - 1))
        assert wrapped.max() == 2 ** (bits - 1) - 1


def test_gradient_is_one_through_the_wrap_and_one_inside_through_the_clamp() -> None:
    values = [-300.0, -129.0, -128.0, -1.0, 0.0, 127.0, 127.5, 128.0, 1000.0]
    for overflow, expected in (("wrap", [1] * 9), ("saturate", [0, 0, 1, 1, 1, 1, 0, 0, 0])):
        sums = torch.tensor(values, requires_grad=True)
        Accumulator(8, overflow)(sums).sum().backward()
        assert sums.grad.tolist() == expected


def test_real_sums_wrap_by_the_same_formula() -> None:
    sums = torch.tensor([128.5, -128.25, 127.75])
    assert Accumulator(8, "wrap")(sums).tolist() == [-127.5, 127.75, 127.75]


@pytest.mark.parametrize("overflow", ["wrap", "saturate"])
def test_latent_gradient_goes_through_the_accumulator(overflow: str) -> None:
    """dl/dw* = B(w*/s) (alpha/s) sum_n g_n A'(s_n) x_n, here with bc: B = 1 and alpha = s = 1."""
    torch.manual_seed(0)
    linear, x = nn.Linear(400, 4, bias=False), torch.randn(6, 400)
    with torch.no_grad():
        linear.weight[:2] = 1.0
        x[:3] = 1.0
    exact = torch.from_numpy(signs(x) @ signs(linear.weight).T)
    passes = torch.ones_like(exact) if overflow == "wrap" else ((exact >= -128) & (exact <= 127)).float()
    assert overflow == "wrap" or 0 < passes.mean() < 1
    layer = layer_of(linear, overflow=overflow)
    g = torch.randn(6, 4)
    layer(x).backward(g)
    torch.testing.assert_close(latent_weight(layer).grad, (g * passes).T @ torch.from_numpy(signs(x)))


def test_scale_bias_and_normalisation_come_after_the_wrap() -> None:
    linear, norm, x = nn.Linear(300, 1), nn.BatchNorm1d(1, momentum=1.0), torch.ones(4, 300)
    with torch.no_grad():
        linear.weight.fill_(0.25)
        linear.bias.fill_(10.0)
    config = pc.BinarizeConfig.from_setting("bwaa", method="bc")
    pc.binarize_(linear, config, everything)
    norm(linear(x))
    assert linear(x)[0].item() == (300 - 256) * 0.25 + 10
    assert norm.running_mean.item() == (300 - 256) * 0.25 + 10


def test_while_a_forward_is_smooth_sums_are_real() -> None:
    """Neither rounded while codes are not integers, nor moved by the rounding once they are."""
    torch.manual_seed(0)
    linear, x = nn.Linear(400, 8, bias=False), torch.randn(5, 400)
    config = pc.BinarizeConfig.from_setting("bwaa", method="bnn++", activations="bnn++", scale=None)
    pair, w = pc.method("bnn++"), linear.weight.detach().clone()
    sums = pair.forward(x, 1.0) @ pair.forward(w, 1.0).T
    assert not torch.equal(sums, sums.round())
    pc.binarize_(linear, config, everything)
    torch.testing.assert_close(linear(x), Accumulator(8, "wrap")(sums), rtol=0, atol=1e-3)


def test_penalty_and_overflow_rates_are_the_papers() -> None:
    torch.manual_seed(0)
    first, last = nn.Linear(300, 40), nn.Linear(40, 8)
    model, x = nn.Sequential(first, nn.LayerNorm(40), last), torch.randn(6, 300)
    with torch.no_grad():
        first.weight[:10] = 1.0
        x[:2] = 1.0
    exact = torch.from_numpy(signs(x) @ signs(first.weight).T)
    layer_of(model)
    quiet = model(x)
    with collect_accumulators(model) as sums:
        assert torch.equal(model(x), quiet)
    penalty = (exact.abs() - 127).relu().mean() / 2  # the second layer cannot overflow
    torch.testing.assert_close(sums.penalty(), penalty)
    outside = ((exact < -128) | (exact > 127)).float().mean().item()
    assert outside > 0
    assert sums.overflow_rates() == {"0": pytest.approx(outside), "2": 0}
    sums.penalty().backward()
    assert latent_weight(first).grad[0].abs().sum() > 0


def test_a_penalty_that_is_descended_ends_overflow() -> None:
    torch.manual_seed(0)
    layer, x = layer_of(nn.Linear(200, 4)), torch.ones(1, 200)
    with torch.no_grad():
        latent_weight(layer).fill_(0.05)
    optimizer = torch.optim.SGD([latent_weight(layer)], lr=0.02)
    rates = []
    for _ in range(40):
        with collect_accumulators(layer) as sums:
            layer(x + 0.5 * torch.randn(8, 200))
        rates.append(sums.overflow_rates()[""])
        optimizer.zero_grad()
        sums.penalty().backward()
        optimizer.step()
    assert rates[0] > 0.9
    assert rates[-1] == 0


def test_collecting_leaves_no_hook_behind() -> None:
    layer = layer_of(nn.Linear(200, 4))
    with pytest.raises(RuntimeError, match="mine"), collect_accumulators(layer):
        raise RuntimeError("mine")
    assert not layer.accumulator._forward_hooks


def test_repeated_calls_are_averaged() -> None:
    layer = layer_of(nn.Linear(300, 1))
    with torch.no_grad():
        latent_weight(layer).fill_(1.0)
    with collect_accumulators(layer) as sums:
        layer(torch.ones(1, 300))
        layer(torch.cat([torch.ones(150), -torch.ones(150)]))
    assert sums.overflow_rates() == {"": 0.5}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"activations": None}, "accumulator_bits=8 needs sums of -1 and .*not None"),
        ({"accumulator_bits": 17}, "accumulator_bits must be 4 to 16, or 32, not 17"),
        ({"overflow": "clip"}, "unknown overflow 'clip'. Known: wrap, saturate"),
    ],
)
def test_config_refuses(values: dict[str, object], words: str) -> None:
    with pytest.raises(pc.ProxConnectError, match=words):
        pc.BinarizeConfig.from_setting("bwaa", **values)


def test_collecting_needs_an_accumulator_and_a_call() -> None:
    refused = pytest.raises(pc.ProxConnectError, match="no accumulator of fewer than 32 bits")
    with refused, collect_accumulators(nn.Linear(2, 2)):
        pass
    with collect_accumulators(layer_of(nn.Linear(2, 2))) as sums:
        pass
    with pytest.raises(pc.ProxConnectError, match="no accumulator has run"):
        sums.penalty()
