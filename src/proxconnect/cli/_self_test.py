"""A quick test of the kernels of this machine: every kernel set against the reference."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator

import torch
from torch import nn

from proxconnect.engine import active_kernels, kernel_sets, use_kernels
from proxconnect.layers import BinarizeConfig, binarize_, harden_
from proxconnect.packing import pack_

_TOLERANCE = 1e-5


def self_test() -> dict[str, list[str]]:
    """Compare every kernel set of this processor with the reference; return the products that differ.

    Linear layers and convolutions are computed with 1-bit weights and float32, 8-bit and 1-bit inputs. Sizes
    are no multiples of what a kernel takes at a time.

    >>> self_test()["portable"]
    []
    """
    before = active_kernels()
    wrong: dict[str, list[str]] = {}
    try:
        for name in kernel_sets():
            use_kernels(name)
            wrong[name] = [product for product, equal in _comparisons() if not equal]
    finally:
        use_kernels(before)
    return wrong


def _comparisons() -> Iterator[tuple[str, bool]]:
    generator = torch.Generator("cpu").manual_seed(0)

    def normal(shape: Iterable[int]) -> torch.Tensor:
        return torch.randn(tuple(shape), generator=generator, dtype=torch.float32, device="cpu")

    with torch.no_grad():
        for setting in ("bw", "bwa"):
            for kind, layer, shape in (
                ("linear", nn.Linear(300, 70, device="cpu", dtype=torch.float32), (5, 300)),
                (
                    "convolution",
                    nn.Conv2d(35, 40, 3, padding=1, device="cpu", dtype=torch.float32),
                    (2, 35, 9, 9),
                ),
            ):
                layer.weight.copy_(normal(layer.weight.shape))
                config = BinarizeConfig.from_setting(setting)
                model = harden_(binarize_(nn.Sequential(layer), config, lambda module, name: True)).eval()
                x = normal(shape)
                expected = pack_(copy.deepcopy(model), kernels="reference")(x)
                for activations in (None, "int8") if setting == "bw" else (None,):
                    found = pack_(copy.deepcopy(model), activations=activations)(x)
                    yield (
                        f"{kind}, {setting}{', 8-bit inputs' if activations else ''}",
                        _close(found, expected, 0.02 if activations else _TOLERANCE),
                    )


def _close(found: torch.Tensor, expected: torch.Tensor, tolerance: float) -> bool:
    """Compare with a tolerance in units of the largest magnitude; quantized inputs move sums by rounding."""
    return bool((found - expected).abs().max() <= tolerance * expected.abs().max())
