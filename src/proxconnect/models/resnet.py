"""Residual networks for small images (He et al. 2015, section 4.2), with parameter-free shortcuts."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from proxconnect.errors import ProxConnectError, unknown_name
from proxconnect.models.nonlinearity import create_nonlinearity


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut that subsamples and pads channels with zeros (option A)."""

    def __init__(self, channels_in: int, channels: int, stride: int, nonlinearity: str = "relu") -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.nonlinearity1 = create_nonlinearity(nonlinearity, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.nonlinearity2 = create_nonlinearity(nonlinearity, channels)
        self.stride = stride
        self.new_channels = channels - channels_in

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels_in, H, W) to (N, channels, H / stride, W / stride)."""
        y = self.nonlinearity1(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        z: Tensor = self.nonlinearity2(y + self._shortcut(x))
        return z

    def _shortcut(self, x: Tensor) -> Tensor:
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        if self.new_channels:
            before = self.new_channels // 2
            x = functional.pad(x, (0, 0, 0, 0, before, self.new_channels - before))
        return x


class BiRealBlock(BasicBlock):
    """Two 3x3 convolutions, each with a shortcut: real values pass beside every 1-bit convolution.

    The shortcuts are those of :class:`BasicBlock`.

    Source: Bi-Real Net (Liu et al. 2018, arXiv 1808.00278), section 3.1.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels_in, H, W) to (N, channels, H / stride, W / stride)."""
        y = self.nonlinearity1(self.norm1(self.conv1(x)) + self._shortcut(x))
        z: Tensor = self.nonlinearity2(self.norm2(self.conv2(y)) + y)
        return z


BLOCKS = {"basic": BasicBlock, "bireal": BiRealBlock}


class CifarResNet(nn.Module):
    """ResNet of depth ``6 n + 2``: three stages of ``n`` blocks with 16, 32 and 64 channels.

    Args:
        depth: 8, 20, 32, 44, 56, ...
        classes: number of classes.
        channels: channels of the input images.
        block: ``"basic"`` or ``"bireal"``, which suits binary activations.
        nonlinearity: ``"relu"``, ``"prelu"``, ``"rprelu"`` (ReActNet), ``"hardtanh"`` or ``"none"``. Behind
            ``"relu"`` the sign of every activation is +1: choose another one for binary activations.

    Raises:
        ProxConnectError: ``depth`` is not of the form ``6 n + 2``, or a name is unknown.

    >>> sum(p.numel() for p in CifarResNet(20, classes=10).parameters())
    269722
    """

    def __init__(
        self, depth: int, classes: int, channels: int = 3, block: str = "basic", nonlinearity: str = "relu"
    ) -> None:
        super().__init__()
        blocks, remainder = divmod(depth - 2, 6)
        if blocks < 1 or remainder:
            raise ProxConnectError(f"depth must be 6 n + 2 (8, 20, 32, 44, 56, ...), not {depth!r}")
        if block not in BLOCKS:
            raise ProxConnectError(unknown_name("block", block, BLOCKS))
        self.conv = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.nonlinearity = create_nonlinearity(nonlinearity, 16)
        stages: list[nn.Module] = []
        channels_in = 16
        for width, stride in ((16, 1), (32, 2), (64, 2)):
            stages += [BLOCKS[block](channels_in, width, stride, nonlinearity)]
            stages += [BLOCKS[block](width, width, 1, nonlinearity) for _ in range(blocks - 1)]
            channels_in = width
        self.blocks = nn.Sequential(*stages)
        self.head = nn.Linear(64, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Compute the logits (N, classes) of images (N, channels, H, W)."""
        x = self.nonlinearity(self.norm(self.conv(images)))
        features: Tensor = self.blocks(x).mean(dim=(2, 3))
        logits: Tensor = self.head(features)
        return logits
