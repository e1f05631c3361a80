"""Weights that are levels times a scale already stay, to the bit; other scales are least squares."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from looking import every, same_tensors
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

import proxconnect as pc
from proxconnect.base.rows import Rows
from proxconnect.layers import hardened_weights
from proxconnect.layers._scales import exact_scale, least_squares_scale, mean_scale

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
SCALE_DTYPES = [torch.float16, torch.bfloat16, torch.float32]
LEVELS = [(-1, 1), (-1, 0, 1), (-3, -1, 1, 3), (-0.5, 0.25, 2), (0.1, 0.7), (0, 1)]
LAYERS = {
    "linear": lambda: nn.Linear(7, 5),
    "conv": lambda: nn.Conv2d(4, 6, 3, groups=2),
    "transposed": lambda: nn.ConvTranspose2d(4, 6, 3, groups=2),
    "large": lambda: nn.Linear(4096, 9),
}


def everything(module: nn.Module, name: str) -> bool:
    return True


def narrower(one: torch.dtype, other: torch.dtype) -> torch.dtype:
    return max(one, other, key=lambda dtype: torch.finfo(dtype).eps)


@settings(deadline=None)
@given(
    kind=st.sampled_from(list(LAYERS)),
    levels=st.sampled_from(LEVELS),
    scale=st.sampled_from(["channel", "tensor", 3, 1000, None]),
    dtype=st.sampled_from(DTYPES),
    scale_dtype=st.sampled_from(SCALE_DTYPES),
    learn=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_weights_that_are_levels_times_scales_stay(
    kind: str,
    levels: tuple[float, ...],
    scale: str | int | None,
    dtype: torch.dtype,
    scale_dtype: torch.dtype,
    learn: bool,
    seed: int,
) -> None:
    config = pc.BinarizeConfig(
        "bc", levels=levels, scale=scale, scale_dtype=scale_dtype, learn_scale=learn and scale is not None
    )
    torch.manual_seed(seed)
    layer = LAYERS[kind]().to(dtype)
    rows = Rows(tuple(layer.weight.shape), config.group, 2 if kind == "transposed" else None)
    shape = rows.scale_shapes[-1 if scale in ("tensor", None) else 0]
    scales = torch.rand(shape) * 0.2 + 0.01 if scale else torch.ones(shape)
    scales = scales.to(narrower(dtype, scale_dtype)).to(dtype)
    codes = torch.tensor(levels, dtype=dtype)[torch.randint(len(levels), layer.weight.shape)]
    weight = codes * rows.spread(scales)
    layer.weight = nn.Parameter(weight.clone())
    for _ in range(2):
        pc.binarize_(layer, config, everything)
        assert torch.equal(layer.weight, weight)
        pc.harden_(layer)
        assert torch.equal(layer.weight, weight)
        assert layer.weight_scale.dtype == scale_dtype


@settings(deadline=None)
@given(st.sampled_from(LEVELS), st.sampled_from(["channel", "tensor", 3]), st.integers(0, 2**16))
def test_other_weights_take_the_least_squares_scale(
    levels: tuple[float, ...], scale: str | int, seed: int
) -> None:
    torch.manual_seed(seed)
    layer = nn.Linear(7, 4).double()
    pc.binarize_(layer, pc.BinarizeConfig("bc", levels=levels, scale=scale), everything)
    quantizer = layer.parametrizations.weight[0]
    latent = layer.parametrizations.weight.original.detach()
    with torch.no_grad():
        layer.parametrizations.weight.original.mul_(1.1).add_(0.01 * torch.randn_like(latent))
    chosen = torch.tensor(levels).double()
    nearest = chosen[((latent / quantizer.latent_scale).unsqueeze(-1) - chosen).abs().argmin(-1)]
    alpha = quantizer.exact_scale(latent)
    rows, shape = quantizer.rows, quantizer.scale_shape
    expected = rows.summed(latent * nearest, shape) / rows.summed(nearest.square(), shape)
    expected = torch.where(expected.isnan(), alpha, expected).clamp(min=0)  # where all levels are 0
    torch.testing.assert_close(alpha, expected)


@pytest.mark.parametrize("shape", [(3, 5), (3, 70000), (2, 3, 3, 3)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_mean_of_equal_magnitudes_is_that_magnitude(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    magnitude = torch.rand(len_ := shape[0], *(1,) * (len(shape) - 1)).to(dtype)
    weight = magnitude * (torch.randint(2, shape) * 2 - 1)
    assert torch.equal(mean_scale(weight, Rows(shape), magnitude.shape), magnitude)
    same = magnitude[:1].expand(len_, *magnitude.shape[1:]) * weight.sign()
    assert torch.equal(mean_scale(same, Rows(shape), (1,) * len(shape)), magnitude[:1])
    weight[0].view(-1)[-1] *= 2
    mean = mean_scale(weight, Rows(shape), magnitude.shape)
    assert torch.equal(mean[1:], magnitude[1:])
    torch.testing.assert_close(mean[0].double().view(()), weight[0].double().abs().mean(), rtol=1e-2, atol=0)


def test_a_group_of_zeros_keeps_a_scale_that_trains() -> None:
    weight, rows = torch.tensor([[0.0, 0.0], [0.4, -0.4]]), Rows((2, 2))
    assert exact_scale(weight, (-1, 0, 1), rows, (2, 1), torch.float32)[0].tolist() == [
        [0.0],
        [pytest.approx(0.4)],
    ]
    s = torch.tensor([[1.0], [1.0]])
    assert least_squares_scale(weight, s, (-1, 0, 1), rows, (2, 1)).tolist() == [[1.0], [1.0]]


def test_sums_of_squares_do_not_overflow_in_half_precision() -> None:
    layer = nn.Linear(400, 400).half()
    pc.binarize_(layer, pc.BinarizeConfig("bc", levels=(-1, 0, 1), scale="tensor"), everything)
    latent = layer.parametrizations.weight.original.detach().float()
    q = (latent / layer.parametrizations.weight[0].latent_scale.float()).round().clamp(-1, 1)
    alpha = layer.parametrizations.weight[0].exact_scale(latent.half())
    torch.testing.assert_close(
        alpha.float().view(()), (latent * q).sum() / q.square().sum(), rtol=1e-2, atol=0
    )


def hardened(
    levels: tuple[float, ...] = (-1, 1), scale: str | None = "channel", **config: object
) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.ReLU(),
        nn.Conv2d(8, 6, 3),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(54, 7),
        nn.BatchNorm1d(7),
        nn.Linear(7, 4),
    )
    for norm in (model[3], model[7]):
        for tensor in (norm.weight, norm.bias, norm.running_mean):
            nn.init.normal_(tensor)  # factors of both signs
        nn.init.uniform_(norm.running_var)
    with torch.no_grad():
        model[3].weight[1] = 0
        model[2].weight.mul_(6)  # some are beyond 1/2, without a scale too
    method = "bc" if levels != (-1, 1) else "bnn++"
    return pc.harden_(
        pc.binarize_(model, pc.BinarizeConfig(method, levels=levels, scale=scale, **config))
    ).eval()


def folded(model: nn.Sequential) -> nn.Sequential:
    conv = fuse_conv_bn_eval(model[2], model[3])
    linear = fuse_linear_bn_eval(model[6], model[7])
    return nn.Sequential(model[0], model[1], conv, *model[4:6], linear, model[8])


X = torch.linspace(-1, 1, 4 * 3 * 49).reshape(4, 3, 7, 7)


@pytest.mark.parametrize("scale", ["channel", "tensor", None, 3])
@pytest.mark.parametrize("levels", [(-1, 1), (-1, 0, 1)])
def test_a_folded_batchnorm_changes_the_scales_alone(
    levels: tuple[float, ...], scale: str | None, tmp_path: object
) -> None:
    model = folded(hardened(levels, scale))
    expected, weight = model(X), model[2].weight.detach().clone()
    path = pc.save(copy.deepcopy(model), f"{tmp_path}/m.safetensors", X)
    assert torch.equal(pc.load(path, kernels="reference")(X), expected)
    packed = pc.pack_(copy.deepcopy(model), kernels="reference")
    assert torch.equal(packed[2].weight, weight)
    assert torch.equal(packed(X), expected)
    again = pc.harden_(copy.deepcopy(model))
    assert torch.equal(again(X), expected)
    assert again[2].weight_scale.dtype == torch.float32
    config = pc.BinarizeConfig("bc", levels=levels, scale=scale or "channel", scale_dtype=torch.float32)
    if scale != "tensor":
        anew = pc.binarize_(model, config, lambda module, name: name in ("2", "5"))
        assert torch.equal(anew(X), expected)
        assert torch.equal(pc.harden_(anew)(X), expected)


def test_hardening_twice_changes_nothing() -> None:
    once = hardened()
    state = {name: tensor.clone() for name, tensor in once.state_dict().items()}
    twice = pc.harden_(once).state_dict()
    assert list(twice) == list(state)
    assert same_tensors(twice, state)
    assert once[2].weight_scale.dtype == torch.float16


def test_a_hardened_weight_that_became_something_else_is_projected_anew_or_refused(tmp_path: object) -> None:
    model = hardened((-1, 0, 1))
    with torch.no_grad():
        model[2].weight.add_(0.01 * torch.randn_like(model[2].weight))
    for packing in (lambda: pc.save(model, f"{tmp_path}/m"), lambda: pc.pack_(model)):
        with pytest.raises(pc.ProxConnectError, match=r"weight '2\.weight' is no longer a level"):
            packing()
    found = {each.name: each for each in hardened_weights(pc.harden_(model))}["2.weight"]
    weight, scale = found.weight, found.scale.float()
    assert {round(value, 6) for value in (weight / scale).unique().tolist()} == {-1, 0, 1}
    assert pc.save(model, f"{tmp_path}/m")


def test_a_hardened_model_trains_further_as_it_was() -> None:
    model = hardened()
    expected = model(X)
    pc.binarize_(model, pc.BinarizeConfig("bc"))
    assert torch.equal(model(X), expected)
    model(X).square().sum().backward()
    assert every(parameter.grad is not None for parameter in model.parameters())
    assert "2.weight_scale" not in model.state_dict()


def test_a_hardened_layer_with_binary_input_trains_further_with_its_thresholds() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm1d(8), *(nn.Linear(8, 8) for _ in range(3)))
    config = pc.BinarizeConfig.from_setting("bwa", method="bc", learn_thresholds=True)
    pc.binarize_(model, config, lambda module, name: name == "1")
    nn.init.normal_(model[1].input_quantizer.thresholds)
    x = torch.randn(5, 8)
    pc.harden_(model).eval()
    thresholds, expected = model[1].input_quantizer.thresholds, model(x)
    pc.binarize_(model, config, lambda module, name: name == "1")
    assert model[1].input_quantizer.thresholds is thresholds
    assert torch.equal(model(x), expected)
    assert len(model[1]._forward_pre_hooks) == 1
    pc.binarize_(pc.harden_(model), pc.BinarizeConfig("bc"), lambda module, name: name == "1")
    assert not hasattr(model[1], "input_quantizer")
    torch.testing.assert_close(model[1](x), nn.functional.linear(x, model[1].weight, model[1].bias))


def test_tied_hardened_weights_stay_tied_when_binarized_anew() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    model[1].weight = model[0].weight
    pc.harden_(pc.binarize_(model, pc.BinarizeConfig("bc"), everything))
    pc.binarize_(model, pc.BinarizeConfig("bc"), everything)
    assert model[0].parametrizations.weight.original is model[1].parametrizations.weight.original
    hard = pc.harden_(model)
    with torch.no_grad():
        hard[0].weight.mul_(0.3)
    assert pc.harden_(hard)[0].weight is hard[1].weight
