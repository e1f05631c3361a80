"""Residual networks for small images (He et al. 2015, section 4.2), with parameter-free shortcuts."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from proxconnect.errors import ProxConnectError


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut that subsamples and pads channels with zeros (option A)."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.stride = stride
        self.new_channels = channels - channels_in

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels_in, H, W) to (N, channels, H / stride, W / stride)."""
        y = functional.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return functional.relu(y + self._shortcut(x))

    def _shortcut(self, x: Tensor) -> Tensor:
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        if self.new_channels:
            before = self.new_channels // 2
            x = functional.pad(x, (0, 0, 0, 0, before, self.new_channels - before))
        return x


class CifarResNet(nn.Module):
    """ResNet of depth ``6 n + 2``: three stages of ``n`` blocks with 16, 32 and 64 channels.

    Args:
        depth: 20, 32, 44, 56, ...
        classes: number of classes.
        channels: channels of the input images.

    Raises:
        ProxConnectError: ``depth`` is not of the form ``6 n + 2``.

    >>> sum(p.numel() for p in CifarResNet(20, classes=10).parameters())
    269722
    """

    def __init__(self, depth: int, classes: int, channels: int = 3) -> None:
        super().__init__()
        blocks, remainder = divmod(depth - 2, 6)
        if blocks < 1 or remainder:
            raise ProxConnectError(f"depth must be 6 n + 2 (20, 32, 44, 56, ...), not {depth!r}")
        self.conv = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        stages: list[nn.Module] = []
        channels_in = 16
        for width, stride in ((16, 1), (32, 2), (64, 2)):
            stages += [BasicBlock(channels_in, width, stride)]
            stages += [BasicBlock(width, width, 1) for _ in range(blocks - 1)]
            channels_in = width
        self.blocks = nn.Sequential(*stages)
        self.head = nn.Linear(64, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, channels, H, W)."""
        x = functional.relu(self.norm(self.conv(images)))
        features: Tensor = self.blocks(x).mean(dim=(2, 3))
        logits: Tensor = self.head(features)
        return logits
