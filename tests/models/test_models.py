"""Models: sizes, shapes and names."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

import proxconnect as pc
from proxconnect.layers import binarized_weights
from proxconnect.models import CifarResNet, VisionTransformer, create_model, model_names
from proxconnect.models.resnet import BasicBlock


# Parameter counts in millions of He et al. 2015, table 6.
@pytest.mark.parametrize(("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85)])
def test_resnets_have_the_papers_size(depth: int, millions: float) -> None:
    model = CifarResNet(depth, classes=10)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.01)
    assert sum(isinstance(m, torch.nn.Conv2d) for m in model.modules()) + 1 == depth


def test_shortcut_subsamples_and_pads_with_zeros() -> None:
    block = BasicBlock(2, 6, stride=2)
    x = torch.rand(1, 2, 4, 4)
    shortcut = block._shortcut(x)
    assert shortcut.shape == (1, 6, 2, 2)
    assert torch.equal(shortcut[:, 2:4], x[:, :, ::2, ::2])
    assert shortcut[:, [0, 1, 4, 5]].abs().sum() == 0
    with torch.no_grad():
        block.norm2.weight.zero_()  # leaves the shortcut alone
    assert torch.equal(block.eval()(x), functional.relu(shortcut))


@pytest.mark.parametrize("name", model_names())
@pytest.mark.parametrize(("channels", "size"), [(1, 8), (3, 32)])
def test_every_model_runs_trains_and_binarizes(name: str, channels: int, size: int) -> None:
    model = create_model(name, classes=7, channels=channels, image_size=size)
    linear_and_conv = sum(isinstance(m, torch.nn.Linear | torch.nn.Conv2d) for m in model.modules())
    pc.binarize_(model, pc.BinarizeConfig())
    assert sum(1 for _ in binarized_weights(model)) == linear_and_conv - 2
    logits = model(torch.randn(2, channels, size, size))
    assert logits.shape == (2, 7)
    logits.sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


def test_unknown_model_names_near_matches() -> None:
    with pytest.raises(pc.ProxConnectError, match=r"unknown model 'resnet21'; did you mean .*'resnet20'"):
        create_model("resnet21", classes=2)


def test_refuses_impossible_sizes() -> None:
    with pytest.raises(pc.ProxConnectError, match="depth must be 6 n"):
        CifarResNet(21, classes=2)
    with pytest.raises(pc.ProxConnectError, match=r"image_size \(30\) must be a multiple of patch \(4\)"):
        VisionTransformer(classes=2, image_size=30)
