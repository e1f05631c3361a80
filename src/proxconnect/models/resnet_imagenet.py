"""Residual networks for large images (He et al. 2015, table 1): shortcuts project where the shape changes."""

from __future__ import annotations

from torch import Tensor, nn

from proxconnect.errors import ProxConnectError, unknown_name
from proxconnect.models.nonlinearity import create_nonlinearity
from proxconnect.models.resnet import BasicBlock, BiRealBlock

# Blocks in each of the four stages.
_STAGES = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}


class ProjectionBlock(BasicBlock):
    """Two 3x3 convolutions and a shortcut that projects where the shape changes (option B)."""

    expansion = 1

    def __init__(self, channels_in: int, channels: int, stride: int, nonlinearity: str = "relu") -> None:
        super().__init__(channels_in, channels, stride, nonlinearity)
        self.projection = _projection(channels_in, channels, stride)

    def _shortcut(self, x: Tensor) -> Tensor:
        shortcut: Tensor = self.projection(x)
        return shortcut


class ProjectionBiRealBlock(ProjectionBlock, BiRealBlock):
    """A :class:`BiRealBlock` whose first shortcut projects where the shape changes."""


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, the last to four times the channels, and a projecting shortcut."""

    expansion = 4

    def __init__(self, channels_in: int, channels: int, stride: int, nonlinearity: str = "relu") -> None:
        super().__init__()
        wide = self.expansion * channels
        self.conv1 = nn.Conv2d(channels_in, channels, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.nonlinearity1 = create_nonlinearity(nonlinearity, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.nonlinearity2 = create_nonlinearity(nonlinearity, channels)
        self.conv3 = nn.Conv2d(channels, wide, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(wide)
        self.nonlinearity3 = create_nonlinearity(nonlinearity, wide)
        self.projection = _projection(channels_in, wide, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels_in, H, W) to (N, 4 channels, H / stride, W / stride)."""
        y = self.nonlinearity1(self.norm1(self.conv1(x)))
        y = self.nonlinearity2(self.norm2(self.conv2(y)))
        z: Tensor = self.nonlinearity3(self.norm3(self.conv3(y)) + self.projection(x))
        return z


class ImageNetResNet(nn.Module):
    """ResNet of four stages of 64, 128, 256 and 512 channels behind a 7x7 convolution and a pooling.

    Args:
        depth: 18, of blocks with two convolutions, or 50, of bottlenecks.
        classes: number of classes.
        channels: channels of the input images.
        block: for depth 18, ``"basic"`` or ``"bireal"``; depth 50 has bottlenecks.
        nonlinearity: as for :class:`CifarResNet`.

    Raises:
        ProxConnectError: the depth or a name is unknown.

    >>> sum(p.numel() for p in ImageNetResNet(18, classes=1000).parameters())
    11689512
    """

    def __init__(
        self, depth: int, classes: int, channels: int = 3, block: str = "basic", nonlinearity: str = "relu"
    ) -> None:
        super().__init__()
        if depth not in _STAGES:
            raise ProxConnectError(f"depth must be one of {', '.join(map(str, _STAGES))}, not {depth!r}")
        blocks = (
            {"basic": ProjectionBlock, "bireal": ProjectionBiRealBlock}
            if depth == 18
            else {"basic": Bottleneck}
        )
        if block not in blocks:
            raise ProxConnectError(unknown_name("block", block, blocks))
        kind = blocks[block]
        self.conv = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(64)
        self.nonlinearity = create_nonlinearity(nonlinearity, 64)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        stages: list[nn.Module] = []
        channels_in = 64
        for count, width, stride in zip(_STAGES[depth], (64, 128, 256, 512), (1, 2, 2, 2), strict=True):
            for index in range(count):
                stages.append(kind(channels_in, width, stride if index == 0 else 1, nonlinearity))
                channels_in = kind.expansion * width
        self.blocks = nn.Sequential(*stages)
        self.head = nn.Linear(channels_in, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Compute the logits (N, classes) of images (N, channels, H, W)."""
        x = self.pool(self.nonlinearity(self.norm(self.conv(images))))
        features: Tensor = self.blocks(x).mean(dim=(2, 3))
        logits: Tensor = self.head(features)
        return logits


def _projection(channels_in: int, channels: int, stride: int) -> nn.Module:
    if stride == 1 and channels_in == channels:
        return nn.Identity()
    convolution = nn.Conv2d(channels_in, channels, 1, stride=stride, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels))
