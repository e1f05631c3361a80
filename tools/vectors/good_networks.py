"""Files of small networks that the library writes, with what it computes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import proxconnect as pc
from proxconnect.format import decode, unpack_weight
from proxconnect.graph.graph import leaves
from proxconnect.models.resnet import BasicBlock, BiRealBlock
from proxconnect.models.vit import VisionTransformer

PREPROCESSING = {"mode": "L", "size": [8, 8], "mean": [0.5], "std": [0.25], "resize": "bilinear"}


def written(name: str, build: Callable[[], Any], folder: Path) -> tuple[bytes, dict[str, np.ndarray]]:
    """Let the library write a network with weights of fixed random numbers, and tell what it computes."""
    model, inputs, config, choice, options = build()
    fill(model, np.random.RandomState(2))
    model = pc.binarize_(model.eval(), config, choice)
    path = pc.save(pc.harden_(model), folder / name, inputs, **options)
    packed = decode(path.read_bytes())
    found = {}
    for weight, form in packed.header.binary.items():
        bits, scale = (packed.tensors[f"{weight}.{part}"] for part in ("bits", "scale"))
        found[f"weights/{weight}"] = unpack_weight(bits, scale, form).numpy()
    for weight in packed.header.dense:
        found[f"weights/{weight}"] = packed.dense(weight).numpy()
    net = pc.load(path, kernels="reference")
    with torch.no_grad():
        outputs = list(leaves(net(**inputs)))
    found |= {f"inputs/{key}": value.numpy() for key, value in inputs.items()}
    found |= {f"outputs/{place}": value.numpy() for place, value in enumerate(outputs)}
    return path.read_bytes(), found


def fill(model: Any, random: np.random.RandomState) -> None:
    """Give every weight levels times scales, which binarizing and hardening keep, and the rest numbers."""
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if not tensor.is_floating_point():
                continue
            values = random.randint(-64, 65, tensor.shape) / 64
            if "running_var" in name:
                values = np.abs(values) + 0.5
            elif name.endswith("weight") and tensor.ndim > 1:
                scale = random.randint(8, 64, (len(tensor), *[1] * (tensor.ndim - 1))) / 128
                values = np.where(values < 0, -1, 1) * scale
            tensor.copy_(torch.from_numpy(np.asarray(values, np.float32)))


def numbers(*shape: int) -> Any:
    return torch.from_numpy((np.random.RandomState(3).randint(-128, 129, shape) / 64).astype(np.float32))


def residual(nonlinearity: str, bireal: bool) -> Any:
    block = BiRealBlock if bireal else BasicBlock
    blocks = [block(4, 4, 1, nonlinearity), block(4, 8, 2, nonlinearity)]
    stem = [nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)]
    return nn.Sequential(*stem, *blocks, *head)


def residual_bw() -> Any:
    facts = {"classes": ["ant", "bee", "cow"], "preprocessing": PREPROCESSING, "metrics": {"accuracy": 0.5}}
    return residual("relu", False), {"input": numbers(2, 1, 8, 8)}, pc.BinarizeConfig(), None, facts


def residual_bwaa() -> Any:
    config = pc.BinarizeConfig.from_setting("bwaa", accumulator_bits=4)
    return residual("hardtanh", True), {"input": numbers(2, 1, 8, 8)}, config, None, {"rest": "float16"}


def transformer_bw() -> Any:
    model = VisionTransformer(4, channels=1, image_size=8, patch=4, width=12, depth=1, heads=2, mlp_ratio=2)
    return model, {"images": numbers(2, 1, 8, 8)}, pc.BinarizeConfig(), None, {"rest": "int8"}


def sequence_ternary() -> Any:
    class Sequence(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.lstm, self.last = (
                nn.Embedding(11, 8),
                nn.LSTM(8, 6, batch_first=True),
                nn.Linear(6, 3),
            )

        def forward(self, tokens: torch.Tensor, context: torch.Tensor | None = None) -> Any:
            y = self.lstm(self.embed(tokens))[0]
            last = self.last(y[:, -1])
            return {"scores": last if context is None else last + context.mean(1), "steps": y}

    inputs = {"tokens": torch.arange(10).view(2, 5) * 7 % 11, "context": numbers(2, 4, 3)}
    config = pc.BinarizeConfig("pc", levels=(-1, 0, 1))
    everything: Callable[[Any, str], bool] = lambda module, name: True  # noqa: E731
    return Sequence(), inputs, config, everything, {"dynamic": {"context": {1: ("length", 1, 9)}}}


NETWORKS = {
    "residual-bw": residual_bw,
    "residual-bwaa": residual_bwaa,
    "transformer-bw": transformer_bw,
    "sequence-ternary": sequence_ternary,
}
