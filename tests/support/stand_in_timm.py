"""A module that stands in for timm, which needs a torchvision that these tests do without."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import nn

SIZED = "vit_tiny_patch4_8"
PLAIN = "convnet_small"
LIMP = "broken_net"


def _create(name: str, pretrained: bool = False, **options: Any) -> nn.Module:
    architecture, _, tag = name.partition(".")
    if tag not in ("", "a1_in1k"):
        raise RuntimeError(f"Invalid pretrained tag ({tag}) for {architecture}.")
    if architecture == LIMP:
        raise TypeError("no layer goes here\nand a second line")
    if architecture == SIZED:
        height, width = options.pop("img_size")
        model: nn.Module = nn.Sequential(
            nn.Flatten(), nn.Linear(options.pop("in_chans") * height * width, 16), nn.BatchNorm1d(16),
            nn.Linear(16, 16), nn.BatchNorm1d(16), nn.Linear(16, options.pop("num_classes")),
        )  # fmt: skip
    else:
        model = nn.Sequential(
            nn.Conv2d(options.pop("in_chans"), 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, options.pop("num_classes")),
        )  # fmt: skip
    assert not options
    if pretrained:
        if not tag:
            raise RuntimeError("there is no network")
        with torch.no_grad():
            next(model[i] for i in (1, 0) if hasattr(model[i], "weight")).weight.fill_(0.25)
    return model


def stand_in_timm() -> ModuleType:
    """Make the module, with the functions of timm that the package calls."""
    module = ModuleType("timm")
    names = [SIZED, PLAIN, LIMP]
    vars(module).update(
        __version__="1.0",
        create_model=_create,
        is_model=lambda name: name.partition(".")[0] in names,
        list_models=lambda: names,
        get_pretrained_cfg=lambda name: SimpleNamespace(fixed_input_size=name.partition(".")[0] == SIZED),
    )
    return module
