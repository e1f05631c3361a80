"""The compiled forms of maps, means and outputs equal those in torch, in every kernel set and layout."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from looking import every
from torch import Tensor, nn

import proxconnect as pc
from proxconnect.kernels import (
    active_kernels,
    fits_compiled_code,
    kernel_sets,
    mean_magnitudes,
    use_kernels,
)
from proxconnect.layers import BinaryActivation, activation_quantizers
from proxconnect.layers._compiled import _COMPILED, compiled_pair
from proxconnect.layers._scaled_product import scale_outputs_
from proxconnect.quantizers import (
    ElementwiseMap,
    binary_relax,
    hard_tanh,
    identity,
    parq,
    polynomial,
    sign,
    slope_of,
)

EPS = torch.finfo(torch.float32).eps
EXACT = {identity, sign, hard_tanh, parq(), binary_relax(), polynomial}
MAPS = sorted(_COMPILED, key=lambda map: map.name)


@pytest.fixture(params=kernel_sets())
def kernels(request: pytest.FixtureRequest) -> Iterator[str]:
    before = active_kernels()
    use_kernels(request.param)
    yield request.param
    use_kernels(before)


def arguments() -> Tensor:
    """Small, large, at kinks, infinite: an odd number of them."""
    torch.manual_seed(0)
    special = torch.tensor([0.0, -0.0, 1.0, -1.0, 0.1, 1.5, 1e-30, 1e30, torch.inf, -torch.inf])
    return torch.cat([torch.randn(3000), 1e-3 * torch.randn(1001), torch.linspace(-20, 20, 1000), special])


@pytest.mark.parametrize("mu", [0.25, 1.0, 1.3, 30.0])
@pytest.mark.parametrize("map", MAPS, ids=lambda map: map.name)
def test_values_and_slopes_are_those_of_torch(map: ElementwiseMap, mu: float, kernels: str) -> None:
    w, mu = arguments(), torch.tensor(mu)
    g = torch.randn_like(w)
    value, gradient = _COMPILED[map].value(w, mu), _COMPILED[map].gradient(w, mu, g)
    if map in EXACT:
        assert torch.equal(value, map.value(w, mu))
        assert torch.equal(gradient, map.slope(w, mu) * g)
    else:
        torch.testing.assert_close(value, map.value(w, mu), rtol=4 * EPS, atol=6 * EPS)
        size = float(map.slope(w, mu).max())
        torch.testing.assert_close(gradient, map.slope(w, mu) * g, rtol=0, atol=16 * EPS * size)
        small = w[w.abs() < 1e-2]  # odd maps keep the relative precision of small values
        torch.testing.assert_close(
            _COMPILED[map].value(small, mu), map.value(small, mu), rtol=6 * EPS, atol=1e-37
        )


@pytest.mark.parametrize("map", MAPS, ids=lambda map: map.name)
def test_every_kernel_set_gives_the_same_bits(map: ElementwiseMap) -> None:
    w, found, before = arguments(), [], active_kernels()
    for name in kernel_sets():
        use_kernels(name)
        form = _COMPILED[map]
        found.append(torch.stack([form.value(w, 1.7), form.gradient(w, 1.7, w.clamp(-9, 9))]))
    use_kernels(before)
    assert every(torch.equal(found[0], other) for other in found[1:])


@pytest.mark.parametrize("shape", [(3, 5), (16, 16), (7, 3, 3, 3), (4, 100), (2, 40000)], ids=str)
@pytest.mark.parametrize("one_for_all", [False, True])
@pytest.mark.parametrize("channels_last", [False, True])
def test_scales_go_by_rows(
    shape: tuple[int, ...], one_for_all: bool, channels_last: bool, kernels: str
) -> None:
    torch.manual_seed(1)
    w, g = torch.randn(shape), torch.randn(shape)
    if channels_last and len(shape) == 4:
        w = w.to(memory_format=torch.channels_last)
    ones = (1,) * (len(shape) - 1)
    s, alpha = (torch.rand(1 if one_for_all else len(w), *ones) + 0.5 for _ in range(2))
    form = _COMPILED[hard_tanh]
    gradient = form.gradient(w, 2.0, g, s, alpha)
    value, codes, _ = form.weight(w, 2.0, s, alpha, with_codes=True)
    assert value.stride() == codes.stride() == gradient.stride() == w.stride()
    assert torch.equal(codes, hard_tanh.value(w / s, 2.0))
    assert torch.equal(value, alpha * codes)
    by_means, _, means = form.weight(w, 2.0, s.expand(len(w), *ones).contiguous(), None, with_codes=False)
    assert torch.equal(means, mean_magnitudes(w))
    assert torch.equal(by_means, means * codes)
    assert torch.equal(gradient, hard_tanh.slope(w / s, 2.0) * g * (alpha / s))


def test_means_of_magnitudes(kernels: str) -> None:
    rows = torch.randn(5, 7001)
    expected = rows.double().abs().mean(dim=1, keepdim=True)
    torch.testing.assert_close(mean_magnitudes(rows).double(), expected, rtol=2 * EPS, atol=0)
    for others in (rows[:, :70], rows[:, :7000]):  # small, or with gaps
        assert torch.equal(mean_magnitudes(others), others.abs().mean(dim=1, keepdim=True))


@pytest.mark.parametrize("shape", [(5,), (2, 17), (2, 3, 9, 9), (40, 1000)], ids=str)
@pytest.mark.parametrize("method", ["bnn", "hardtanh", "bnn++", "poly", "pc", "bc"])
def test_activations_pass_what_their_pair_passes(method: str, shape: tuple[int, ...], kernels: str) -> None:
    torch.manual_seed(2)
    pair, x = pc.method(method), torch.randn(shape).requires_grad_()
    quantizer = BinaryActivation(pair)
    quantizer.mu.fill_(1.25)
    y, g = quantizer(x), torch.randn(shape)
    quantizer.mu.fill_(50.0)  # between the passes
    y.backward(g)
    w = x.detach()
    torch.testing.assert_close(y, pair.forward(w, 1.25), rtol=4 * EPS, atol=6 * EPS)
    torch.testing.assert_close(x.grad, pair.backward(w, 1.25) * g, rtol=4 * EPS, atol=8 * EPS)


def test_a_ramp_keeps_one_bit_for_each_activation() -> None:
    kept: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.nbytes)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        BinaryActivation(pc.method("bnn"))(torch.randn(320, 100, requires_grad=True))
    assert kept == [320 * 100 // 8]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("shape", "channels", "last"),
    [((3, 21), -1, False), ((2, 5, 16), -1, False), ((2, 5, 4, 4), 1, False), ((2, 21, 4, 4), 1, True)],
    ids=str,
)
def test_outputs_are_scaled_by_channel(
    shape: tuple[int, ...], channels: int, last: bool, bias: bool, kernels: str
) -> None:
    y = torch.randn(shape)
    y = y.to(memory_format=torch.channels_last) if last else y
    scale, shift = torch.rand(shape[channels]), torch.randn(shape[channels]) if bias else None
    expected = y.movedim(channels, -1) * scale + (0 if shift is None else shift)
    assert torch.equal(scale_outputs_(y, scale, shift, channels).movedim(channels, -1), expected)


def test_all_else_is_left_to_torch() -> None:
    x = torch.randn(4, 6)
    others = [x.double(), x.half(), x.T, x[:, :3], x.to("meta"), x.expand(2, 4, 6)]
    assert fits_compiled_code(x)
    assert every(not fits_compiled_code(other) for other in others)
    function = lambda w, mu: w  # noqa: E731
    changed = ElementwiseMap("hard tanh", function, identity.slope)
    none = (None, None)
    assert compiled_pair(pc.ForwardBackward(function, function))[1:] == none
    assert compiled_pair(pc.ForwardBackward(changed))[1:] == none
    assert compiled_pair(pc.method("pc", levels=(-1, 0, 1))).value is None
    form = _COMPILED[hard_tanh]
    assert compiled_pair(pc.ForwardBackward(hard_tanh))[1:] == (form, form)
    assert compiled_pair(pc.ForwardBackward(function, slope_of(hard_tanh)))[1:] == (None, form)


def test_empty_tensors_stay_empty() -> None:
    x = torch.empty(0, 4, requires_grad=True)
    BinaryActivation(pc.method("bnn"))(x).sum().backward()
    assert x.grad.shape == (0, 4)
    layer = pc.binarize_(nn.Linear(4, 3), pc.BinarizeConfig.from_setting("bwa"), lambda module, name: True)
    assert layer(torch.empty(0, 4)).shape == (0, 3)
    assert len(list(activation_quantizers(layer))) == 1


@pytest.mark.parametrize("method", ["bnn", "bnn++", "bc"])
def test_second_derivatives_are_refused_and_gradient_penalties_are_not(method: str) -> None:
    torch.manual_seed(3)
    layer = pc.binarize_(nn.Linear(6, 4), pc.BinarizeConfig(method), lambda module, name: True)
    x = torch.randn(3, 6, requires_grad=True)
    latent = layer.parametrizations.weight.original
    for function, argument in ((layer, latent), (BinaryActivation(pc.method(method)), x)):
        (first,) = torch.autograd.grad(function(x).square().sum(), argument, create_graph=True)
        with pytest.raises(RuntimeError, match="once_differentiable"):
            first.square().sum().backward()
    # The gradient of the input is differentiated through the layer's product alone.
    (of_input,) = torch.autograd.grad(layer(x).sum(), x, create_graph=True)
    (penalty,) = torch.autograd.grad(of_input.square().sum(), latent)
    weight = layer.weight
    (expected,) = torch.autograd.grad(weight, latent, 6 * weight.detach().sum(dim=0).expand(4, 6))
    torch.testing.assert_close(penalty, expected)
