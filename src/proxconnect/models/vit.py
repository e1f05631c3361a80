"""Vision transformers (Dosovitskiy et al. 2020) of DeiT-Tiny's width (Touvron et al. 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from proxconnect.errors import ProxConnectError, unknown_name
from proxconnect.models.nonlinearity import create_nonlinearity


class Attention(nn.Module):
    """Multi-head self-attention over (N, tokens, width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Attend from every token to every token."""
        batch, tokens, width = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2])
        projected: Tensor = self.projection(attended.transpose(1, 2).reshape(batch, tokens, width))
        return projected


class EncoderBlock(nn.Module):
    """Pre-norm transformer block: attention, then a two-layer perceptron, each with a shortcut."""

    def __init__(self, width: int, heads: int, mlp_ratio: int = 4) -> None:
        super().__init__()
        hidden = mlp_ratio * width
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, tokens, width) to the same shape."""
        x = x + self.attention(self.norm1(x))
        y: Tensor = x + self.mlp(self.norm2(x))
        return y


class ConvolutionalStem(nn.Sequential):
    """Two 3x3 convolutions, each with BatchNorm, a ReLU and pooling by 2: a token for every 4 x 4 pixels.

    The stem maps (N, channels, H, W) to (N, width, H / 4, W / 4). On small images and from scratch, a
    transformer with this stem trains better than one with a linear map of patches. With 1-bit activations,
    the second convolution needs another nonlinearity before it: behind a ReLU every sign is +1.

    Source: Hassani et al. 2021, arXiv 2104.05704.
    """

    def __init__(self, channels: int, width: int, hidden: int = 64, nonlinearity: str = "relu") -> None:
        layers: list[nn.Module] = []
        for inputs, outputs in ((channels, hidden), (hidden, width)):
            layers += [
                nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                create_nonlinearity(nonlinearity, outputs),
                nn.MaxPool2d(2),
            ]
        super().__init__(*layers)


class VisionTransformer(nn.Module):
    """Vision transformer; its head reads the mean of all tokens, or a class token.

    Args:
        classes: number of classes.
        channels: channels of the input images.
        image_size: height and width of the images, a multiple of ``patch``.
        patch: side of the square patches, in pixels.
        width: width of a token.
        depth: number of encoder blocks.
        heads: attention heads; they divide ``width``.
        class_token: True if a learned token beside the patches carries the answer, as in DeiT.
        mlp_ratio: width of the perceptrons' hidden layer, in units of ``width``.
        stem: ``"patches"``, one linear map of each patch, or ``"convolutions"``, a
            :class:`ConvolutionalStem`, whose patches have 4 x 4 pixels.
        nonlinearity: that of a stem of convolutions, see :func:`create_nonlinearity`.

    Raises:
        ProxConnectError: ``image_size`` is not a multiple of ``patch``, ``width`` not of ``heads``, or the
            stem is unknown or not made for ``patch`` or ``nonlinearity``.

    >>> import torch
    >>> VisionTransformer(classes=10, depth=1)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        classes: int,
        channels: int = 3,
        image_size: int = 32,
        patch: int = 4,
        width: int = 192,
        depth: int = 6,
        heads: int = 3,
        class_token: bool = False,
        mlp_ratio: int = 4,
        stem: str = "patches",
        nonlinearity: str = "relu",
    ) -> None:
        super().__init__()
        if stem not in ("patches", "convolutions"):
            raise ProxConnectError(unknown_name("stem", stem, ("patches", "convolutions")))
        if stem == "convolutions" and patch != 4:
            raise ProxConnectError(f"a stem of convolutions makes patches of 4 x 4 pixels, not {patch}")
        if stem == "patches" and nonlinearity != "relu":
            raise ProxConnectError(f"a stem of patches has no nonlinearity: leave {nonlinearity!r} out")
        if image_size % patch or width % heads:
            raise ProxConnectError(
                f"image_size ({image_size}) must be a multiple of patch ({patch}), "
                f"and width ({width}) of heads ({heads})"
            )
        self.patches: nn.Module
        if stem == "convolutions":
            self.patches = ConvolutionalStem(channels, width, nonlinearity=nonlinearity)
        else:
            self.patches = nn.Conv2d(channels, width, patch, stride=patch)
        tokens = (image_size // patch) ** 2 + class_token
        self.position = nn.Parameter(0.02 * torch.randn(1, tokens, width))
        self.class_token = nn.Parameter(0.02 * torch.randn(1, 1, width)) if class_token else None
        self.blocks = nn.Sequential(*(EncoderBlock(width, heads, mlp_ratio) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Compute the logits (N, classes) of images (N, channels, image_size, image_size)."""
        x = self.patches(images).flatten(2).transpose(1, 2)
        if self.class_token is not None:
            x = torch.cat([self.class_token.expand(x.shape[0], -1, -1), x], dim=1)
        x = self.norm(self.blocks(x + self.position))
        logits: Tensor = self.head(x.mean(dim=1) if self.class_token is None else x[:, 0])
        return logits
