"""Networks for the tests of exports, and images of digits for the networks of the zoo."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

import proxconnect as pc
from proxconnect.data import load_split


@cache
def digit_images(count: int) -> Tensor:
    """Return pictures of digits of 32 x 32 pixels, with values as the networks of the zoo take them."""
    images = load_split("digits", "test").images[:count] / 255
    return functional.interpolate((images - 0.3) / 0.4, size=32, mode="bilinear").repeat(1, 3, 1, 1)


class ManyKinds(nn.Module):
    """A network with each kind of rows: of a convolution with groups, a transposed one, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 12, 3, padding=1)
        self.grouped = nn.Conv2d(12, 12, 3, padding=1, groups=2)
        self.norm = nn.BatchNorm2d(12)
        self.turned = nn.ConvTranspose2d(12, 10, 2, stride=2, groups=2)
        self.hidden = nn.Linear(10, 7)
        self.last = nn.Linear(7, 4)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.norm(self.grouped(functional.relu(self.first(x))))
        features = self.turned(functional.gelu(x)).mean((2, 3))
        return {"features": features, "logits": self.last(self.hidden(features))}


HIDDEN = ("grouped", "turned", "hidden")


def many_kinds(config: pc.BinarizeConfig) -> nn.Module:
    """Make a hardened network of many kinds of layers."""
    torch.manual_seed(0)
    model = pc.binarize_(ManyKinds().eval(), config, lambda module, name: name in HIDDEN)
    return pc.harden_(model)


def saved(model: nn.Module, folder: Path, example: Tensor, **facts: object) -> Path:
    """Write a packed file."""
    return pc.save(model, folder / "model.safetensors", example, **facts)  # type: ignore[arg-type]
