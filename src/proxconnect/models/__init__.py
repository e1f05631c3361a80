"""Models of the paper's experiments, by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from proxconnect.errors import ProxConnectError, unknown_name
from proxconnect.models.nonlinearity import RPReLU
from proxconnect.models.resnet import CifarResNet
from proxconnect.models.resnet_imagenet import ImageNetResNet
from proxconnect.models.vit import VisionTransformer


def _resnet(depth: int) -> Callable[..., nn.Module]:
    def build(
        classes: int, channels: int, image_size: int, block: str = "basic", nonlinearity: str = "relu"
    ) -> nn.Module:
        return CifarResNet(depth, classes, channels, block, nonlinearity)

    return build


def _resnet18(
    classes: int, channels: int, image_size: int, block: str = "basic", nonlinearity: str = "relu"
) -> nn.Module:
    return ImageNetResNet(18, classes, channels, block, nonlinearity)


def _resnet50(classes: int, channels: int, image_size: int, nonlinearity: str = "relu") -> nn.Module:
    return ImageNetResNet(50, classes, channels, nonlinearity=nonlinearity)


def _vit(patch: int, depth: int, class_token: bool, heads: int = 3) -> Callable[..., nn.Module]:
    def build(classes: int, channels: int, image_size: int) -> nn.Module:
        return VisionTransformer(
            classes,
            channels,
            image_size,
            patch=patch,
            width=64 * heads,
            depth=depth,
            heads=heads,
            class_token=class_token,
        )

    return build


def _vit_stem(classes: int, channels: int, image_size: int, nonlinearity: str = "relu") -> nn.Module:
    shape: dict[str, Any] = {"width": 128, "depth": 6, "heads": 4, "mlp_ratio": 2}
    return VisionTransformer(
        classes, channels, image_size, **shape, stem="convolutions", nonlinearity=nonlinearity
    )


_MODELS: dict[str, Callable[..., nn.Module]] = {
    **{f"resnet{depth}": _resnet(depth) for depth in (8, 20, 32, 44, 56)},
    "resnet18": _resnet18,
    "resnet50": _resnet50,
    "vit-stem": _vit_stem,
    "vit-mini": _vit(patch=4, depth=6, class_token=False),
    "vit-tiny-cifar": _vit(patch=4, depth=12, class_token=True),
    "deit-tiny": _vit(patch=16, depth=12, class_token=True),
    "deit-small": _vit(patch=16, depth=12, class_token=True, heads=6),
    "deit-base": _vit(patch=16, depth=12, class_token=True, heads=12),
}


def model_names() -> list[str]:
    """List the names that :func:`create_model` knows.

    >>> model_names()
    ['resnet8', 'resnet20', 'resnet32', 'resnet44', 'resnet56', 'resnet18', 'resnet50',
     'vit-stem', 'vit-mini', 'vit-tiny-cifar', 'deit-tiny', 'deit-small', 'deit-base']
    """
    return list(_MODELS)


def model_options(name: str) -> dict[str, Any]:
    """List the options that :func:`create_model` takes for a model, with their defaults.

    Raises:
        ProxConnectError: the name is unknown (the message names near matches).

    >>> model_options("resnet20")
    {'block': 'basic', 'nonlinearity': 'relu'}
    """
    if name not in _MODELS:
        raise ProxConnectError(unknown_name("model", name, _MODELS))
    parameters = inspect.signature(_MODELS[name]).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}


def create_model(
    name: str, *, classes: int, channels: int = 3, image_size: int = 32, **options: Any
) -> nn.Module:
    """Create a freshly initialised model for square images.

    Args:
        name: one of :func:`model_names`.
        classes: number of classes.
        channels: channels of the input images.
        image_size: height and width of the input images, in pixels; ``resnet18``, ``resnet50`` and the
            ``deit`` models are made for 224.
        options: options of this model, see :func:`model_options`. :class:`CifarResNet` describes ``block``
            and ``nonlinearity``.

    Raises:
        ProxConnectError: the name is unknown (the message names near matches), the model does not have an
            option, or an option has a value that the model refuses.

    >>> import torch
    >>> create_model("resnet20", classes=10, block="bireal", nonlinearity="rprelu")(
    ...     torch.zeros(2, 3, 32, 32)
    ... ).shape
    torch.Size([2, 10])
    """
    known = model_options(name)
    unknown = [option for option in options if option not in known]
    if unknown:
        raise ProxConnectError(
            f"model {name!r} takes {', '.join(known) or 'no options'}, but got {', '.join(unknown)}"
        )
    return _MODELS[name](classes, channels, image_size, **options)


__all__ = [
    "CifarResNet",
    "ImageNetResNet",
    "RPReLU",
    "VisionTransformer",
    "create_model",
    "model_names",
    "model_options",
]
