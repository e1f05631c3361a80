"""Packing a model in place, in the dtypes that models come in."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import proxconnect as pc

CONFIGS = {
    "bw": pc.BinarizeConfig("bnn++"),
    "ternary": pc.BinarizeConfig("bc", levels=(-1, 0, 1), scale_dtype=torch.float32),
    "groups": pc.BinarizeConfig("bc", scale=3, scale_dtype=torch.bfloat16),
    "bwa": pc.BinarizeConfig.from_setting("bwa"),
}


def network(bias: bool = True) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=bias),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 16, 3, bias=bias),
        nn.Flatten(),
        nn.LayerNorm(64),
        nn.Linear(64, 8, bias=bias),
        nn.Linear(8, 3, bias=bias),
    ).eval()


@pytest.mark.parametrize("kernels", ["fast", "reference"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64], ids=str)
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_other_dtypes_compute_as_the_hardened_model(
    config: pc.BinarizeConfig, dtype: torch.dtype, bias: bool, kernels: str
) -> None:
    model, x = pc.binarize_(network(bias).to(dtype), config), torch.randn(2, 3, 6, 6).to(dtype)
    with torch.no_grad():
        expected = pc.harden_(copy.deepcopy(model))(x)
        packed = pc.pack_(model, kernels=kernels)
        assert packed(x).dtype == dtype
        assert torch.equal(packed(x), expected)
        assert torch.equal(copy.deepcopy(packed)(x), expected)
        assert packed.float()(x.float()).dtype == torch.float32


def test_a_bias_in_another_dtype_needs_no_kernel() -> None:
    layer = pc.binarize_(nn.Linear(16, 8), pc.BinarizeConfig("bc"), lambda module, name: True)
    layer.bias = nn.Parameter(layer.bias.detach().double())
    assert pc.pack_(layer).kernel == "unpacked"
