"""Models of the paper's experiments, and those of timm, by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from proxconnect.errors import ProxConnectError, unknown_name
from proxconnect.models._timm import check_timm_name, create_timm_model, is_timm
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


def _vit_stem(depth: int) -> Callable[..., nn.Module]:
    shape: dict[str, Any] = {"width": 128, "depth": depth, "heads": 4, "mlp_ratio": 2}

    def build(classes: int, channels: int, image_size: int, nonlinearity: str = "relu") -> nn.Module:
        return VisionTransformer(
            classes, channels, image_size, **shape, stem="convolutions", nonlinearity=nonlinearity
        )

    return build


_MODELS: dict[str, Callable[..., nn.Module]] = {
    **{f"resnet{depth}": _resnet(depth) for depth in (8, 20, 32, 44, 56)},
    "resnet18": _resnet18,
    "resnet50": _resnet50,
    "vit-stem": _vit_stem(depth=6),
    "vit-stem-mini": _vit_stem(depth=3),
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
     'vit-stem', 'vit-stem-mini', 'vit-mini', 'vit-tiny-cifar', 'deit-tiny', 'deit-small', 'deit-base']
    """
    return list(_MODELS)


def check_model(name: str) -> None:
    """Refuse the name of a model that is neither one of :func:`model_names` nor ``timm:NAME`` of timm.

    Raises:
        ProxConnectError: the name is unknown (the message names near matches).
        MissingPackageError: it is a name of timm, which is not installed.

    >>> check_model("resnet20")
    """
    if is_timm(name):
        check_timm_name(name)
    elif name not in _MODELS:
        message = unknown_name("model", name, _MODELS)
        raise ProxConnectError(f"{message}; and timm:NAME for each model of timm")


def model_options(name: str) -> dict[str, Any]:
    """List the options that :func:`create_model` takes for a model, with their defaults.

    Raises:
        ProxConnectError: as for :func:`check_model`.

    >>> model_options("resnet20")
    {'block': 'basic', 'nonlinearity': 'relu'}
    """
    check_model(name)
    if is_timm(name):
        return {}
    parameters = inspect.signature(_MODELS[name]).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}


def create_model(
    name: str,
    *,
    classes: int,
    channels: int = 3,
    image_size: int | tuple[int, int] = 32,
    pretrained: bool = False,
    **options: Any,
) -> nn.Module:
    """Create a freshly initialised model, or with ``pretrained`` one of timm with its pretrained weights.

    Args:
        name: one of :func:`model_names`, or ``timm:NAME`` for an architecture of timm.
        classes: number of classes.
        channels: channels of the input images.
        image_size: height and width of the input images, in pixels, one number if they are equal, which
            only ResNets and models of timm do without; ``resnet18``, ``resnet50`` and the ``deit`` models
            are made for 224. A model of timm that has a size of images is made for this one.
        pretrained: start from the weights that timm's own loader downloads.
        options: options of this model, see :func:`model_options`. :class:`CifarResNet` describes ``block``
            and ``nonlinearity``.

    Raises:
        ProxConnectError: the name is unknown (the message names near matches), the model does not have an
            option, an option has a value that the model refuses, the images have to be square, or there are
            no pretrained weights.
        MissingPackageError: the model is one of timm, which is not installed.

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
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    if is_timm(name):
        return create_timm_model(
            name, classes=classes, channels=channels, image_size=(height, width), pretrained=pretrained
        )
    if pretrained:
        raise ProxConnectError(
            f"model {name!r} has no pretrained weights; those of timm, timm:NAME, have some"
        )
    if height != width and not name.startswith("resnet"):
        raise ProxConnectError(f"{name} takes square images, not {height}x{width}; pass --image-size")
    return _MODELS[name](classes, channels, height, **options)


__all__ = [
    "CifarResNet",
    "ImageNetResNet",
    "RPReLU",
    "VisionTransformer",
    "check_model",
    "create_model",
    "is_timm",
    "model_names",
    "model_options",
]
