"""Architectures of timm, which are named ``timm:NAME``."""

from __future__ import annotations

import difflib
from typing import Any

import torch
from torch import Tensor, nn

from proxconnect.base.optional import needed_for
from proxconnect.errors import ProxConnectError, first_line

PREFIX = "timm:"


def is_timm(name: str) -> bool:
    """Tell whether the name of a model is one of timm.

    >>> is_timm("timm:convnext_atto"), is_timm("resnet20")
    (True, False)
    """
    return name.startswith(PREFIX)


def check_timm_name(name: str) -> None:
    """Refuse a name ``timm:NAME`` that timm does not know; the message names near matches.

    Raises:
        MissingPackageError: timm is not installed, or cannot be imported.
        ProxConnectError: the name is unknown.
    """
    timm = _library()
    architecture = name.removeprefix(PREFIX)
    # Names such as hf-hub:OWNER/NAME would have timm read a configuration from elsewhere.
    if ":" not in architecture and "/" not in architecture and timm.is_model(architecture):
        return
    near = difflib.get_close_matches(architecture, timm.list_models(), n=2)
    hint = f"; did you mean {' or '.join(repr(PREFIX + each) for each in near)}?" if near else ""
    raise ProxConnectError(
        f"timm {timm.__version__} has no model {architecture!r}{hint or '.'} timm.list_models() lists all"
    )


def create_timm_model(
    name: str, *, classes: int, channels: int, image_size: tuple[int, int], pretrained: bool
) -> nn.Module:
    """Create the architecture ``timm:NAME``; one that is made for a size of images is made for this size.

    Raises:
        ProxConnectError: as for `check_timm_name`; or timm cannot make it like this, or cannot load weights.
    """
    check_timm_name(name)
    timm = _library()
    architecture = name.removeprefix(PREFIX)
    height, width = image_size
    options: dict[str, Any] = {"num_classes": classes, "in_chans": channels}
    try:
        facts = timm.get_pretrained_cfg(architecture)
        if facts is not None and facts.fixed_input_size:
            options["img_size"] = image_size
        model: nn.Module = timm.create_model(architecture, pretrained=pretrained, **options)
        _try_once(model, torch.zeros(1, channels, height, width, dtype=torch.float32, device="cpu"))
    except Exception as error:  # timm's constructors and loaders raise whatever their values lead to
        with_weights = "with its pretrained weights " if pretrained else ""
        raise ProxConnectError(
            f"timm cannot make {architecture!r} {with_weights}for {classes} classes and images of "
            f"{height} x {width} with {channels} channels: {first_line(error)}"
        ) from error
    return model


@torch.no_grad()
def _try_once(model: nn.Module, images: Tensor) -> None:
    """Let images that are too small for an architecture raise an error before a run begins."""
    training = model.training
    model.eval()(images)
    model.train(training)


def _library() -> Any:
    with needed_for("A model of timm", extra="timm"):
        import timm
    return timm
