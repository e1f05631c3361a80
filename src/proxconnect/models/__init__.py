"""Models of the paper's experiments, by name."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from proxconnect.errors import ProxConnectError, unknown_name
from proxconnect.models.resnet import CifarResNet
from proxconnect.models.vit import VisionTransformer


def _resnet(depth: int) -> Callable[[int, int, int], nn.Module]:
    return lambda classes, channels, image_size: CifarResNet(depth, classes, channels)


_MODELS: dict[str, Callable[[int, int, int], nn.Module]] = {
    **{f"resnet{depth}": _resnet(depth) for depth in (20, 32, 44, 56)},
    "vit-mini": VisionTransformer,
}


def model_names() -> list[str]:
    """Names that :func:`create_model` knows.

    >>> model_names()
    ['resnet20', 'resnet32', 'resnet44', 'resnet56', 'vit-mini']
    """
    return list(_MODELS)


def create_model(name: str, *, classes: int, channels: int = 3, image_size: int = 32) -> nn.Module:
    """A freshly initialised model for square images.

    Args:
        name: one of :func:`model_names`.
        classes: number of classes.
        channels: channels of the input images.
        image_size: height and width of the input images, in pixels.

    Raises:
        ProxConnectError: an unknown name (the message names near matches).

    >>> import torch
    >>> create_model("resnet20", classes=10)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """
    if name not in _MODELS:
        raise ProxConnectError(unknown_name("model", name, _MODELS))
    return _MODELS[name](classes, channels, image_size)


__all__ = ["CifarResNet", "VisionTransformer", "create_model", "model_names"]
