"""Hardening: weights become exactly plus or minus their scale, and nothing of the latents stays."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import proxconnect as pc
from proxconnect.layers import binarization_of, hardened_weights, latent_weight
from proxconnect.quantizers import sign


def is_hardened(module: nn.Module) -> bool:
    return any(True for _ in hardened_weights(module))


def layer(weight: Tensor, **values: object) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0])
    linear.weight = nn.Parameter(weight)
    config = pc.BinarizeConfig(**values)  # type: ignore[arg-type]
    return pc.binarize_(linear, config, filter_fn=lambda module, name: True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize(("scale", "shape"), [("channel", (5, 1)), ("tensor", (1, 1)), (None, (1, 1))])
@pytest.mark.filterwarnings("ignore:hardening changes")
@pytest.mark.parametrize("method", ["bc", "bnn", "bnn+", "bnn++"])
def test_weights_are_sign_times_rounded_scale(
    method: str, scale: str | None, shape: tuple[int, int], dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    weight = torch.randn(5, 7)
    weight[0, :3] = torch.tensor([0.0, -0.0, 1e-30])
    mean = {"channel": weight.abs().mean(dim=1, keepdim=True), "tensor": weight.abs().mean()}.get(
        scale or "", torch.ones(1)
    )
    hard = pc.harden_(layer(weight, method=method, scale=scale, scale_dtype=dtype))
    assert hard.weight_scale.dtype == dtype
    assert hard.weight_scale.shape == shape
    # A mean may be summed in another order; exact is the level times the scale that is stored.
    torch.testing.assert_close(
        hard.weight_scale.float(), mean.float().view(shape), rtol=4 * torch.finfo(dtype).eps, atol=0
    )
    assert torch.equal(hard.weight, sign(weight, 1.0) * hard.weight_scale.float())
    assert torch.equal(hard.weight[0, :3], hard.weight_scale[0].float().expand(3))


def test_latents_are_gone() -> None:
    hard = pc.harden_(layer(torch.randn(3, 4)))
    assert set(hard.state_dict()) == {"weight", "bias", "weight_scale"}
    assert not hard.weight.requires_grad
    assert is_hardened(hard)
    assert type(hard) is nn.Linear


@pytest.mark.parametrize("method", ["bc", "bnn", "bnn+"])
def test_sign_methods_harden_without_a_change(method: str) -> None:
    """The forward of sign methods is the sign already: only the scale is rounded, and here it is exact."""
    binarized = layer(torch.randn(3, 4), method=method, scale_dtype=torch.float32)
    before = binarized.weight.detach().clone()
    assert torch.equal(pc.harden_(binarized).weight, before)


def test_method_and_setting_are_remembered() -> None:
    model = nn.Sequential(layer(torch.randn(3, 3), method="bnn+"), layer(torch.randn(3, 3), method="bc"))
    assert (binarization_of(model).method, binarization_of(model).setting) == ("bc, bnn+", "bw")
    assert binarization_of(pc.harden_(model)).method == "bc, bnn+"
    assert binarization_of(nn.Linear(2, 2)) is None


def test_hardening_a_copy_leaves_the_original_alone() -> None:
    model = layer(torch.randn(3, 4))
    before = model.weight.detach().clone()
    twin = pc.harden_(copy.deepcopy(model))
    assert torch.equal(model.weight, before)
    assert latent_weight(model).grad_fn is None
    assert is_hardened(twin)
    assert not is_hardened(model)


def test_refuses_a_model_without_latents() -> None:
    with pytest.raises(pc.ProxConnectError, match="nothing to harden"):
        pc.harden_(nn.Linear(2, 2))


@pytest.mark.parametrize("size", [1e6, 1e-12])
def test_refuses_a_scale_that_does_not_fit_its_dtype(size: float) -> None:
    model = layer(size * torch.ones(2, 2))
    with pytest.raises(
        pc.ProxConnectError, match=r"does not fit torch\.float16; set scale_dtype=torch\.float32"
    ):
        pc.harden_(model)
    assert latent_weight(model).shape == (2, 2)


def test_refuses_latents_that_are_not_finite() -> None:
    model = layer(torch.ones(2, 2))
    with torch.no_grad():
        latent_weight(model)[0, 0] = float("inf")
    with pytest.raises(pc.ProxConnectError, match="latent weight or scale of 'weight' has NaN or infinite"):
        pc.harden_(model)
    assert not is_hardened(model)
