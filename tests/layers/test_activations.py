"""Binary activations: what layers see, what trains, and what stays of it after hardening."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from looking import every, same_tensors
from torch import Tensor, nn
from torch.nn import functional

import proxconnect as pc
from proxconnect.layers import (
    BinaryActivation,
    SignActivation,
    activation_quantizers,
    binarization_of,
    latent_weight,
)

SIGN_METHODS = ["bc", "bnn", "bnn+", "poly", "ede", "reste"]
SMOOTH_METHODS = ["bnn++", "poly+", "hardtanh", "ede+"]


def everything(module: nn.Module, name: str) -> bool:
    return True


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 6, 3, padding=1, stride=2, groups=2),
        nn.BatchNorm2d(6),
        nn.Flatten(),
        nn.Linear(54, 7),
        nn.LayerNorm(7),
        nn.Linear(7, 2),
    )


def binarized(**values: object) -> nn.Sequential:
    return pc.binarize_(network(), pc.BinarizeConfig.from_setting("bwa", **values))


def inputs_of_layers(model: nn.Module, x: Tensor) -> list[Tensor]:
    """Record the inputs of the forward of each layer with binary activations."""
    seen: list[Tensor] = []
    handles = [
        layer.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
        for layer in model.modules()
        if hasattr(layer, "input_quantizer")
    ]
    model(x)
    for handle in handles:
        handle.remove()
    return seen


def is_sign(x: Tensor) -> bool:
    return bool((x.abs() == 1).all())


@pytest.mark.parametrize("method", SIGN_METHODS)
def test_inputs_are_exactly_plus_or_minus_one(method: str) -> None:
    model = binarized(activations=method)
    seen = inputs_of_layers(model, torch.randn(2, 3, 8, 8))
    assert len(seen) == 2
    assert every(is_sign(x) and x.unique().numel() == 2 for x in seen)


def test_both_zeros_become_plus_one() -> None:
    assert BinaryActivation(pc.method("bnn"))(torch.tensor([0.0, -0.0])).tolist() == [1, 1]
    assert SignActivation()(torch.tensor([0.0, -0.0])).tolist() == [1, 1]


@pytest.mark.parametrize("method", SMOOTH_METHODS)
def test_a_smooth_forward_anneals_and_hardens_to_the_sign(method: str) -> None:
    model = binarized(activations=method)
    x = torch.randn(2, 3, 8, 8)
    assert not all(map(is_sign, inputs_of_layers(model, x)))
    quantizer = next(activation_quantizers(model))[2]
    activations = torch.randn(100)
    distances = []
    for mu in (1.0, 10.0, 1000.0):
        quantizer.mu.fill_(mu)
        distances.append((quantizer(activations) - SignActivation()(activations)).abs().mean().item())
    assert distances[0] > distances[1] > distances[2]
    assert every(map(is_sign, inputs_of_layers(pc.harden_(model), x)))


def test_the_gradient_is_that_of_the_pair_at_the_shifted_input() -> None:
    """y = F(x - t): dl/dx = B(x - t) g and dl/dt = -sum B(x - t) g per channel."""
    torch.manual_seed(0)
    pair, x = pc.method("bnn+"), torch.randn(3, 4, 2, 2, requires_grad=True)
    thresholds = nn.Parameter(torch.randn(4, 1, 1))
    quantizer = BinaryActivation(pair, thresholds)
    quantizer.mu.fill_(2.5)
    g = torch.randn(3, 4, 2, 2)
    quantizer(x).backward(g)
    expected = pair.backward((x - thresholds).detach(), 2.5) * g
    torch.testing.assert_close(x.grad, expected)
    torch.testing.assert_close(thresholds.grad, -expected.sum(dim=(0, 2, 3))[:, None, None])


def test_thresholds_have_one_value_per_channel_and_learn() -> None:
    model = binarized(learn_thresholds=True)
    conv, linear = (quantizer.thresholds for _, _, quantizer in activation_quantizers(model))
    assert (conv.shape, linear.shape) == ((8, 1, 1), (54,))
    model(torch.randn(4, 3, 8, 8)).square().sum().backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    assert conv.abs().sum() > 0
    assert linear.abs().sum() > 0
    x = torch.zeros(1, 8, 5, 5)
    assert torch.equal(model[2].input_quantizer(x)[0, :, 0, 0] == 1, conv.flatten() <= 0)


def test_mu_of_activations_is_their_own_and_float32() -> None:
    model = binarized(activations="bnn++")
    found = list(activation_quantizers(model))
    assert [name for name, _, _ in found] == ["2", "5"]
    pc.MuSchedule(model, "constant", start=7.0)
    assert every(quantizer.mu == 1 for _, _, quantizer in found)
    for _, _, quantizer in activation_quantizers(model.bfloat16()):
        assert quantizer.mu.dtype == torch.float32


@pytest.mark.parametrize("setting", ["bwa", "bwaa"])
def test_a_layer_computes_the_sum_of_signs_times_scale_plus_bias(setting: str) -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(20, 5), torch.randn(3, 20)
    weight, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
    pc.binarize_(layer, pc.BinarizeConfig.from_setting(setting, method="bc"), everything)
    sums = SignActivation()(x) @ SignActivation()(weight).T
    assert torch.equal(layer(x), sums * weight.abs().mean(dim=1) + bias)


def test_zero_padding_adds_nothing() -> None:
    conv = nn.Conv1d(1, 1, 3, padding=1, bias=False)
    with torch.no_grad():
        conv.weight.fill_(0.5)
    pc.binarize_(conv, pc.BinarizeConfig.from_setting("bwa", method="bc", scale=None), everything)
    assert conv(torch.ones(1, 1, 4)).tolist() == [[[2, 3, 3, 2]]]


def test_one_sgd_step_is_the_papers_step() -> None:
    """The latent's gradient is B(w*/s) (alpha/s) g with g the gradient at w = alpha F(w*/s)."""
    torch.manual_seed(1)
    layer = nn.Linear(6, 4, bias=False).double()
    latent = layer.weight.detach().clone()
    pc.binarize_(layer, pc.BinarizeConfig.from_setting("bwa", method="bnn++"), everything)
    x = torch.randn(10, 6).double()
    layer(x).square().sum().backward()
    scale, pair = latent.abs().mean(dim=1, keepdim=True), pc.method("bnn++")
    weight = (scale * pair.forward(latent / scale, 1.0)).requires_grad_()
    functional.linear(SignActivation()(x), weight).square().sum().backward()
    expected = pair.backward(latent / scale, 1.0) * weight.grad
    torch.testing.assert_close(latent_weight(layer).grad, expected, rtol=1e-12, atol=1e-12)


def test_autocast_leaves_sums_and_signs_exact() -> None:
    """257 is no bfloat16 number: these layers keep to float32."""
    config = pc.BinarizeConfig.from_setting("bwa", method="bc")
    layer = nn.Linear(257, 1, bias=False)
    with torch.no_grad():
        layer.weight.fill_(1.0)
    pc.binarize_(layer, config, everything)
    model, x = pc.binarize_(network(), config, everything), torch.randn(4, 3, 8, 8)
    before = inputs_of_layers(model, x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(torch.ones(1, 257)).item() == 257
        within = inputs_of_layers(model, x)
        model(x).sum().backward()
    assert len(before) == 4
    assert every(map(torch.equal, before, within))
    assert latent_weight(model[2]).grad.dtype == torch.float32


def test_forward_leaves_the_state_alone() -> None:
    model = binarized(learn_thresholds=True, activations="bnn++").eval()
    before = copy.deepcopy(model.state_dict())
    model(torch.randn(2, 3, 8, 8)).sum().backward()
    assert same_tensors(before, model.state_dict())


def test_copies_pickles_and_state_dicts_compute_the_same() -> None:
    model, other = (binarized(learn_thresholds=True, activations="bnn++") for _ in range(2))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    for _, _, quantizer in activation_quantizers(model):
        quantizer.mu.fill_(3.0)
    other.load_state_dict(model.state_dict())
    x = torch.randn(2, 3, 8, 8)
    expected = model.eval()(x)
    assert torch.equal(other.eval()(x), expected)
    twin = copy.deepcopy(model)
    assert torch.equal(twin(x), expected)
    hardened = pc.harden_(twin)
    assert torch.equal(model(x), expected)
    assert isinstance(model[2].input_quantizer, BinaryActivation)
    again = pickle.loads(pickle.dumps(hardened))
    assert torch.equal(again(x), hardened(x))


def test_layers_stay_what_they_were() -> None:
    model = binarized()
    assert isinstance(model[2], nn.Conv2d)
    assert isinstance(model[5], nn.Linear)
    assert torch.equal(model[5](input=torch.ones(1, 54)), model[5](torch.ones(1, 54)))


def test_hardened_layers_hold_signs_and_thresholds_alone() -> None:
    hard = pc.harden_(binarized(learn_thresholds=True))
    assert set(hard[5].state_dict()) == {"weight", "bias", "weight_scale", "input_quantizer.thresholds"}
    assert list(activation_quantizers(hard)) == []
    assert binarization_of(hard).setting == "bwa"


def test_hardening_sign_pairs_changes_nothing_but_the_scales_rounding() -> None:
    model = binarized(method="bnn", scale_dtype=torch.float32).eval()
    x = torch.randn(4, 3, 8, 8)
    assert torch.equal(pc.harden_(copy.deepcopy(model))(x), model(x))


def test_settings_of_several_layers_are_named_together() -> None:
    model = network()
    for name, setting in (("2", "bwa"), ("5", "bwaa"), ("7", "bw")):
        config = pc.BinarizeConfig.from_setting(setting)
        pc.binarize_(model, config, lambda module, found, name=name: found == name)
    assert binarization_of(model).setting == "bw, bwa, bwaa"
    assert binarization_of(pc.harden_(model)).setting == "bw, bwa, bwaa"


def test_attention_keeps_its_activations_where_no_forward_is_called() -> None:
    encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    pc.binarize_(encoder, pc.BinarizeConfig.from_setting("bwa"), everything)
    assert [name for name, _, _ in activation_quantizers(encoder)] == ["linear1", "linear2"]
    assert binarization_of(encoder).setting == "bw, bwa"
    assert torch.isfinite(encoder(torch.randn(2, 3, 8))).all()


@pytest.mark.parametrize("setting", ["bwa", "bwaa"])
def test_compiles_whole_and_not_again_as_mu_moves(setting: str) -> None:
    model = pc.binarize_(network(), pc.BinarizeConfig.from_setting(setting, activations="bnn++")).eval()
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    x = torch.randn(2, 3, 8, 8)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for mu in (1.0, 2.0, 3.0):
            for _, _, quantizer in activation_quantizers(model):
                quantizer.mu.fill_(mu)
            torch.testing.assert_close(compiled(x), model(x))


class OwnLinear(nn.Linear):
    """A layer whose forward is its own."""

    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input)


def test_refuses_a_derived_class_and_changes_nothing() -> None:
    model = nn.Sequential(nn.Linear(4, 4), OwnLinear(4, 4))
    with pytest.raises(pc.ProxConnectError, match=r"layer '1' is of class OwnLinear: .* not a class derived"):
        pc.binarize_(model, pc.BinarizeConfig.from_setting("bwa"), everything)
    assert list(activation_quantizers(model)) == []
    pc.binarize_(model, pc.BinarizeConfig.from_setting("bw"), everything)
