"""Binarized layers: what they compute, what trains, what is refused."""

from __future__ import annotations

import copy

import pytest
import torch
from all_maps import METHODS
from looking import same_tensors, some
from torch import Tensor, nn

import proxconnect as pc
from proxconnect.layers import binarized_weights, latent_weight


def everything(module: nn.Module, name: str) -> bool:
    return True


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 6, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(96, 7),
        nn.Linear(7, 2),
    )


def scales(latent: Tensor, scale: str | None) -> Tensor:
    """Compute the mean of |w*| that the configuration asks for."""
    if scale is None:
        return torch.ones_like(latent)
    if scale == "tensor":
        return latent.abs().mean().expand_as(latent)
    rows = [channel.abs().mean().expand_as(channel) for channel in latent]
    return torch.stack(rows)


@pytest.mark.parametrize("scale", ["channel", "tensor", None])
@pytest.mark.parametrize("method", METHODS)
def test_one_sgd_step_is_the_papers_step(method: str, scale: str | None) -> None:
    """w = alpha F(w*/s) and w* <- w* - eta B(w*/s) (alpha/s) g, with alpha moving and s fixed."""
    torch.manual_seed(1)
    layer = nn.Linear(6, 4, bias=False).double()
    latent = layer.weight.detach().clone()
    pc.binarize_(layer, pc.BinarizeConfig(method=method, scale=scale), filter_fn=everything)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.3)
    inputs, targets = torch.randn(10, 6).double(), torch.randn(10, 4).double()
    s, mu, pair = scales(latent, scale), 1.0, pc.method(method)
    for _ in range(3):
        loss = (layer(inputs) - targets).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

        alpha = scales(latent, scale)
        weight = (alpha * pair.forward(latent / s, mu)).requires_grad_()
        (gradient,) = torch.autograd.grad((inputs @ weight.T - targets).square().mean(), weight)
        latent = latent - 0.3 * pair.backward(latent / s, mu) * (alpha / s) * gradient
        torch.testing.assert_close(latent_weight(layer).detach(), latent, rtol=1e-12, atol=1e-12)


def test_default_leaves_out_the_first_and_the_last() -> None:
    model = pc.binarize_(network(), pc.BinarizeConfig())
    assert [name for name, _, _, _ in binarized_weights(model)] == ["2", "5"]


def test_filter_chooses() -> None:
    model = pc.binarize_(
        network(), pc.BinarizeConfig(), filter_fn=lambda module, name: isinstance(module, nn.Linear)
    )
    assert [name for name, _, _, _ in binarized_weights(model)] == ["5", "6"]


def test_train_and_eval_compute_the_same() -> None:
    layer = pc.binarize_(nn.Linear(8, 8), pc.BinarizeConfig(), filter_fn=everything)
    x = torch.randn(3, 8)
    assert torch.equal(layer.train()(x), layer.eval()(x))


def test_forward_leaves_the_state_alone() -> None:
    layer = pc.binarize_(nn.Linear(8, 8), pc.BinarizeConfig(), filter_fn=everything)
    before = copy.deepcopy(layer.state_dict())
    layer(torch.randn(3, 8)).sum().backward()
    assert same_tensors(before, layer.state_dict())


def test_state_dict_holds_latents_and_round_trips() -> None:
    model = pc.binarize_(network(), pc.BinarizeConfig())
    other = pc.binarize_(network(), pc.BinarizeConfig())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1)
    other.load_state_dict(model.state_dict())
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(model.eval()(x), other.eval()(x))
    assert "2.parametrizations.weight.original" in model.state_dict()


def test_mu_stays_float32_in_half_precision() -> None:
    model = pc.binarize_(network(), pc.BinarizeConfig())
    for _, _, _, quantizer in binarized_weights(model):
        quantizer.mu.fill_(59.987)
    expected = torch.tensor(59.987)
    for moved in (
        copy.deepcopy(model).half(),
        copy.deepcopy(model).bfloat16(),
        copy.deepcopy(model).double(),
    ):
        for _, module, _, quantizer in some(binarized_weights(moved)):
            assert torch.equal(quantizer.mu, expected)
            assert module.weight.dtype == moved[0].weight.dtype


def test_a_channel_of_zeros_stays_finite() -> None:
    layer = nn.Linear(4, 2)
    with torch.no_grad():
        layer.weight[0] = 0
    pc.binarize_(layer, pc.BinarizeConfig(), filter_fn=everything)
    layer(torch.ones(1, 4)).sum().backward()
    assert torch.isfinite(layer.weight).all()
    assert torch.isfinite(latent_weight(layer).grad).all()
    assert (pc.harden_(layer).weight[0] == 0).all()


def test_own_pair_trains() -> None:
    pair = pc.ForwardBackward(forward=lambda w, mu: torch.tanh(mu * w), name="mine")
    layer = pc.binarize_(nn.Linear(8, 8), pc.BinarizeConfig(method=pair), filter_fn=everything)
    layer(torch.randn(3, 8)).sum().backward()
    assert latent_weight(layer).grad.abs().sum() > 0


def test_tied_weights_stay_tied() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    model[1].weight = model[0].weight
    pc.binarize_(model, pc.BinarizeConfig(), filter_fn=everything)
    assert latent_weight(model[0]) is latent_weight(model[1])
    pc.harden_(model)
    assert model[0].weight is model[1].weight


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"method": "bnnn"}, "unknown method 'bnnn'; did you mean 'bnn'"),
        ({"method": "fp"}, "leaves weights as they are"),
        ({"method": 3}, "method must be a name such as 'bnn\\+\\+' or a ForwardBackward, not 3"),
        ({"scale": "row"}, "scale must be 'channel', 'tensor', None or a positive number .* not 'row'"),
        ({"scale": 0}, "scale must be .* not 0"),
        ({"scale": True}, "scale must be .* not True"),
        ({"scale": 99999999999}, "scale must be .* at most 16,777,216 .* not 99999999999"),
        ({"scale": None, "learn_scale": True}, "has no scale to learn"),
        ({"scale_dtype": torch.int8}, "scale_dtype must be one of"),
        (
            {"levels": (-1, 0, 1)},
            r"method 'bnn\+\+' has the levels \(-1, 1\) alone.*: bc, pc, binary-relax, parq",
        ),
        ({"method": "bc", "levels": (1, -1)}, "finite numbers in increasing order"),
        ({"method": "bc", "levels": (0,)}, "at least two finite numbers"),
        (
            {"method": "bc", "levels": (-1e39, 1e39)},
            "levels must be 0 or have a size from 0.0001 to 10000, not",
        ),
        ({"method": "bc", "levels": (-1e-46, 1)}, "levels must be 0 or have a size"),
        ({"method": "bc", "levels": "ternary"}, "levels must be numbers such as"),
        ({"method": "bc", "method_args": {"levels": (-1, 0, 1)}}, "levels are a field of BinarizeConfig"),
        ({"activations": "bnnn"}, "unknown method 'bnnn'; did you mean 'bnn'"),
        ({"activations": 3}, "activations must be a name such as 'bnn\\+\\+' or a ForwardBackward, not 3"),
        ({"activations": "fp"}, "activations 'fp' leaves them as they are: pass None"),
        ({"activations": pc.method("bc", levels=(-1, 0, 1))}, r"must become -1 or \+1, .*{-1, 0, 1}"),
        ({"activations": "bnn", "scale": 64}, "with binary activations the scale follows the whole sum"),
        ({"learn_thresholds": True}, "learn_thresholds=True needs binary activations"),
        ({"accumulator_bits": 8}, "accumulator_bits=8 needs sums .*: pass activations, .*not None"),
        ({"accumulator_bits": 3, "activations": "bnn"}, "accumulator_bits must be 4 to 16, or 32, not 3"),
        ({"overflow": "wrapped"}, "unknown overflow 'wrapped'; did you mean 'wrap'"),
    ],
)
def test_config_refuses(values: dict[str, object], words: str) -> None:
    with pytest.raises(pc.ProxConnectError, match=words):
        pc.BinarizeConfig(**values)  # type: ignore[arg-type]


def test_unknown_setting_names_the_known_ones() -> None:
    with pytest.raises(pc.ProxConnectError, match="unknown setting 'bwx'; did you mean 'bw'"):
        pc.BinarizeConfig.from_setting("bwx")


@pytest.mark.parametrize(
    ("setting", "values", "words"),
    [
        ("bw", {"activations": "bnn"}, "activations='bnn' .* is setting 'bwa', not 'bw'"),
        ("bwa", {"activations": None}, "activations=None .* is setting 'bw', not 'bwa'"),
        ("bwaa", {"accumulator_bits": 32}, "accumulator_bits=32 is setting 'bwa', not 'bwaa'"),
    ],
)
def test_values_that_make_another_setting_are_refused(
    setting: str, values: dict[str, object], words: str
) -> None:
    with pytest.raises(pc.ProxConnectError, match=words):
        pc.BinarizeConfig.from_setting(setting, **values)


def with_bad_weight() -> nn.Sequential:
    model = network()
    with torch.no_grad():
        model[5].weight[0, 0] = float("nan")
    return model


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (
            nn.Sequential(nn.Linear(2, 2), nn.ReLU()),
            r"nothing to binarize: .*none is chosen: '0' \(first layer\)",
        ),
        (with_bad_weight(), "layer '5' has NaN or infinite"),
        (pc.binarize_(network(), pc.BinarizeConfig()), "layer '2' is binarized already"),
    ],
)
def test_binarize_refuses_and_changes_nothing(model: nn.Module, words: str) -> None:
    before = list(model.state_dict())
    with pytest.raises(pc.ProxConnectError, match=words):
        pc.binarize_(model, pc.BinarizeConfig())
    assert list(model.state_dict()) == before


def test_binarize_refuses_an_integer_weight() -> None:
    layer = nn.Linear(2, 2)
    layer.weight = nn.Parameter(torch.ones(2, 2, dtype=torch.int8), requires_grad=False)
    with pytest.raises(
        pc.ProxConnectError,
        match=r"the weight of layer '' must be a float parameter, not Parameter, torch\.int8",
    ):
        pc.binarize_(layer, pc.BinarizeConfig(), filter_fn=everything)


def test_binarize_refuses_a_config_that_is_none() -> None:
    with pytest.raises(
        pc.ProxConnectError, match="config must be a BinarizeConfig or a map of patterns, not 'bnn'"
    ):
        pc.binarize_(network(), "bnn")  # type: ignore[arg-type]
