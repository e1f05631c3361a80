"""Quantization sets and scales: what layers compute, learn and harden to, by the formulas written out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import proxconnect as pc
from proxconnect.layers import binarized_weights, latent_weight

TERNARY = (-1, 0, 1)


def everything(module: nn.Module, name: str) -> bool:
    return True


def linear(inputs: int = 7, outputs: int = 3, **config: object) -> nn.Linear:
    torch.manual_seed(0)
    layer = nn.Linear(inputs, outputs, bias=False)
    return pc.binarize_(layer, pc.BinarizeConfig(**config), everything)  # type: ignore[arg-type]


def group_means(latent: Tensor, group: int) -> Tensor:
    """Compute the mean of |w*| over each group of a row, spread over the group."""
    means = torch.empty_like(latent)
    for row in range(latent.shape[0]):
        for start in range(0, latent.shape[1], group):
            means[row, start : start + group] = latent[row, start : start + group].abs().mean()
    return means


@pytest.mark.parametrize("group", [1, 3, 7, 100])
def test_a_scale_per_group_of_inputs(group: int) -> None:
    layer = linear(method="bc", scale=group, scale_dtype=torch.float32)
    latent = latent_weight(layer).detach()
    expected = group_means(latent, group) * torch.where(latent >= 0, 1.0, -1.0)
    torch.testing.assert_close(layer.weight, expected)
    torch.testing.assert_close(pc.harden_(layer).weight, expected)
    assert layer.weight_scale.shape == (3, -(-7 // group))


@pytest.mark.parametrize("scale", ["channel", "tensor", 3])
def test_a_learned_scale_starts_at_the_mean_and_gets_its_gradient(scale: str | int) -> None:
    layer = linear(method="bnn++", scale=scale, learn_scale=True)
    fixed = linear(method="bnn++", scale=scale)
    torch.testing.assert_close(layer.weight, fixed.weight)
    (found,) = binarized_weights(layer)
    learned, pair = found.quantizer.learned_scale, found.quantizer.pair
    gradient = torch.randn(layer.weight.shape)
    (layer.weight * gradient).sum().backward()
    share = gradient * pair.forward(found.quantizer.normalized(found.latent), 1.0)
    if scale == "tensor":
        torch.testing.assert_close(learned.grad, share.sum().reshape(1, 1))
    elif scale == "channel":
        torch.testing.assert_close(learned.grad, share.sum(1, keepdim=True))
    else:
        sums = [part.sum(1, keepdim=True) for part in share.split(3, dim=1)]
        torch.testing.assert_close(learned.grad, torch.cat(sums, dim=1))
    with torch.no_grad():
        learned.mul_(-2)  # its absolute value is what counts
    torch.testing.assert_close(layer.weight, 2 * fixed.weight)
    assert torch.equal(pc.harden_(layer).weight_scale, learned.abs().half())


@pytest.mark.parametrize("method", ["bc", "pc", "binary-relax", "parq"])
@pytest.mark.parametrize("levels", [TERNARY, (-3, -1, 1, 3), (-0.5, 0.25, 2)])
def test_any_levels_train_and_harden_to_the_nearest(method: str, levels: tuple[float, ...]) -> None:
    layer = linear(method=method, levels=levels, scale_dtype=torch.float32)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    before = latent_weight(layer).detach().clone()
    layer(torch.randn(5, 7)).square().mean().backward()
    optimizer.step()
    latent = latent_weight(layer).detach()
    assert not torch.equal(latent, before)
    s = before.abs().mean(1, keepdim=True)
    distance = (latent / s).unsqueeze(-1) - torch.tensor(levels)
    code = torch.tensor(levels)[distance.abs().argmin(-1)]
    alpha = (latent * code).sum(1, keepdim=True) / code.square().sum(1, keepdim=True)
    torch.testing.assert_close(pc.harden_(layer).weight, alpha * code)


def test_ties_between_levels_go_up() -> None:
    layer = linear(inputs=4, outputs=1, method="bc", levels=TERNARY, scale=None)
    with torch.no_grad():
        latent_weight(layer).copy_(torch.tensor([[-0.5, 0.5, -0.75, 0.0]]))
    assert pc.harden_(layer).weight.tolist() == [[0.0, 1.0, -1.0, 0.0]]


def test_a_pair_of_ones_own_hardens_to_the_levels_it_names() -> None:
    pair = pc.ForwardBackward(forward=lambda w, mu: w, name="mine")
    layer = linear(method=pair, levels=TERNARY, scale=None)
    with torch.no_grad():
        latent_weight(layer).mul_(4)
    assert set(pc.harden_(layer).weight.unique().tolist()) == {-1.0, 0.0, 1.0}


def test_packed_ternary_weights_have_no_negative_zero() -> None:
    layer = linear(method="bc", levels=TERNARY, learn_scale=True)
    (found,) = binarized_weights(layer)
    with torch.no_grad():
        found.quantizer.learned_scale[0] = 0
    weight = pc.harden_(layer).weight
    assert not torch.signbit(weight[weight == 0]).any()


def test_other_levels_are_refused_by_the_packed_file_and_stay(tmp_path: object) -> None:
    layer = linear(method="bc", levels=(-3, -1, 1, 3))
    for form in (layer, pc.harden_(linear(method="bc", levels=(-3, -1, 1, 3)))):
        for refused in (
            lambda model=form: pc.pack_(model),
            lambda model=form: pc.save(model, f"{tmp_path}/m"),
        ):
            with pytest.raises(
                pc.ProxConnectError, match=r"\(-3, -1, 1, 3\); packed weights have \(-1, 1\) or"
            ):
                refused()
    assert latent_weight(layer).requires_grad
    assert pc.summary(layer).layers[0].precision == "2 bit"


def test_hardening_refuses_a_learned_scale_that_is_not_finite() -> None:
    layer = linear(method="bc", learn_scale=True)
    (found,) = binarized_weights(layer)
    with torch.no_grad():
        found.quantizer.learned_scale[0] = torch.nan
    with pytest.raises(pc.ProxConnectError, match="latent weight or scale of 'weight' has NaN"):
        pc.harden_(layer)
    assert found.latent.requires_grad
