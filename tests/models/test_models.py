"""Models: sizes, shapes and names."""

from __future__ import annotations

import pytest
import torch
from looking import every
from torch.nn import functional

import proxconnect as pc
from proxconnect.layers import activation_quantizers, binarized_weights
from proxconnect.models import (
    CifarResNet,
    ImageNetResNet,
    RPReLU,
    VisionTransformer,
    create_model,
    model_names,
)
from proxconnect.models.resnet import BasicBlock, BiRealBlock


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


LARGE = [pytest.param(name, marks=pytest.mark.full) for name in ("resnet50", "deit-small", "deit-base")]
SMALL = [name for name in model_names() if name not in ("resnet50", "deit-small", "deit-base")]


@pytest.mark.parametrize("name", [*SMALL, *LARGE])
@pytest.mark.parametrize(("channels", "size"), [(1, 16), (3, 32)])
def test_every_model_runs_trains_and_binarizes(name: str, channels: int, size: int) -> None:
    model = create_model(name, classes=7, channels=channels, image_size=size)
    linear_and_conv = sum(isinstance(m, torch.nn.Linear | torch.nn.Conv2d) for m in model.modules())
    pc.binarize_(model, pc.BinarizeConfig())
    assert sum(1 for _ in binarized_weights(model)) == linear_and_conv - 2
    logits = model(torch.randn(2, channels, size, size))
    assert logits.shape == (2, 7)
    logits.sum().backward()
    assert every(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


def parameters(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("name", "count"),
    [
        # He et al. 2015, as torchvision counts them.
        ("resnet18", 11_689_512),
        ("resnet50", 25_557_032),
        # Touvron et al. 2021, table 1: 5, 22 and 86 million; the sums over their layers.
        ("deit-tiny", 5_717_416),
        ("deit-small", 22_050_664),
        ("deit-base", 86_567_656),
    ],
)
def test_models_for_imagenet_have_the_papers_size(name: str, count: int) -> None:
    with torch.device("meta"):
        assert parameters(create_model(name, classes=1000, image_size=224)) == count


def test_shortcuts_project_where_the_shape_changes() -> None:
    model = ImageNetResNet(18, classes=5, block="bireal", nonlinearity="rprelu")
    projected = [name for name, module in model.named_modules() if name.endswith("projection.0")]
    assert projected == [f"blocks.{index}.projection.0" for index in (2, 4, 6)]
    block, x = model.blocks[2].eval(), torch.rand(2, 64, 8, 8)
    y = block.nonlinearity1(block.norm1(block.conv1(x)) + block.projection(x))
    assert torch.equal(block(x), block.nonlinearity2(block.norm2(block.conv2(y)) + y))
    with pytest.raises(pc.ProxConnectError, match="depth must be one of 18, 50, not 34"):
        ImageNetResNet(34, classes=5)
    with pytest.raises(pc.ProxConnectError, match="unknown block 'bireal'"):
        ImageNetResNet(50, classes=5, block="bireal")


@pytest.mark.full
def test_deit_tiny_runs_at_its_own_size() -> None:
    model = create_model("deit-tiny", classes=10, image_size=224)
    pc.binarize_(model, pc.BinarizeConfig.from_setting("bwa"))
    assert model(torch.randn(1, 3, 224, 224)).shape == (1, 10)


def test_the_class_token_carries_the_answer() -> None:
    model = VisionTransformer(classes=3, image_size=8, depth=1, class_token=True).eval()
    images = torch.randn(2, 3, 8, 8)
    before = model(images)
    with torch.no_grad():
        model.class_token.add_(1.0)
    assert not torch.equal(model(images), before)
    assert VisionTransformer(classes=3, depth=1).class_token is None


def test_rprelu_is_the_papers_formula() -> None:
    """ReActNet, equation 6: x - gamma + zeta where x > gamma, beta (x - gamma) + zeta elsewhere."""
    torch.manual_seed(0)
    layer, x = RPReLU(3), torch.randn(4, 3, 2, 2)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_()
    gamma, zeta, beta = layer.gamma, layer.zeta, layer.beta[:, None, None]
    expected = torch.where(x > gamma, x - gamma + zeta, beta * (x - gamma) + zeta)
    assert torch.equal(layer(x), expected)
    layer(x).sum().backward()
    assert every(p.grad.abs().sum() > 0 for p in layer.parameters())


def test_bireal_block_has_a_shortcut_around_every_convolution() -> None:
    block = BiRealBlock(2, 6, stride=2, nonlinearity="none").eval()
    x = torch.randn(1, 2, 4, 4)
    shortcut = block._shortcut(x)
    y = block.norm1(block.conv1(x)) + shortcut
    assert torch.equal(block(x), block.norm2(block.conv2(y)) + y)
    with torch.no_grad():
        block.norm1.weight.zero_()
        block.norm2.weight.zero_()
    assert torch.equal(block(x), shortcut)


@pytest.mark.parametrize("block", ["basic", "bireal"])
@pytest.mark.parametrize("nonlinearity", ["prelu", "rprelu", "hardtanh", "none"])
def test_binary_activations_keep_both_signs(block: str, nonlinearity: str) -> None:
    torch.manual_seed(0)
    model = create_model("resnet20", classes=5, block=block, nonlinearity=nonlinearity)
    pc.binarize_(model, pc.BinarizeConfig.from_setting("bwa"))
    shares: list[float] = []
    for _, _, quantizer in activation_quantizers(model):
        quantizer.register_forward_hook(lambda module, args, out: shares.append(out.mean().item()))
    model(torch.randn(4, 3, 16, 16)).sum().backward()
    assert len(shares) == 18
    assert every(abs(share) < 0.9 for share in shares)
    assert every(torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("resnet20", {"block": "bireel"}, "unknown block 'bireel'; did you mean 'bireal'"),
        ("resnet20", {"nonlinearity": "rprelo"}, "unknown nonlinearity 'rprelo'; did you mean 'rprelu'"),
        ("resnet20", {"depth": 3}, "model 'resnet20' takes block, nonlinearity, but got depth"),
        ("vit-mini", {"block": "bireal"}, "model 'vit-mini' takes no options, but got block"),
    ],
)
def test_refuses_options(name: str, options: dict[str, object], words: str) -> None:
    with pytest.raises(pc.ProxConnectError, match=words):
        create_model(name, classes=2, **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stem": "convolution"}, "unknown stem 'convolution'; did you mean 'convolutions'"),
        ({"nonlinearity": "prelu"}, "a stem of patches has no nonlinearity: leave 'prelu' out"),
        ({"stem": "convolutions", "nonlinearity": "rrelu"}, "unknown nonlinearity 'rrelu'; did you mean"),
        ({"stem": "convolutions", "patch": 8}, "a stem of convolutions makes patches of 4 x 4 pixels, not 8"),
    ],
)
def test_refuses_a_stem(options: dict[str, object], words: str) -> None:
    with pytest.raises(pc.ProxConnectError, match=words):
        VisionTransformer(10, **options)


def test_unknown_model_names_near_matches() -> None:
    with pytest.raises(pc.ProxConnectError, match=r"unknown model 'resnet21'; did you mean .*'resnet20'"):
        create_model("resnet21", classes=2)


def test_refuses_impossible_sizes() -> None:
    with pytest.raises(pc.ProxConnectError, match="depth must be 6 n"):
        CifarResNet(21, classes=2)
    with pytest.raises(pc.ProxConnectError, match=r"image_size \(30\) must be a multiple of patch \(4\)"):
        VisionTransformer(classes=2, image_size=30)
