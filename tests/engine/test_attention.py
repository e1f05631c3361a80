"""Attention: kernels="reference" equals the hardened model to the bit without PyTorch's fused path."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import proxconnect as pc


@pytest.fixture(autouse=True)
def restored_path() -> Iterator[None]:
    before = torch.backends.mha.get_fastpath_enabled()
    yield
    torch.backends.mha.set_fastpath_enabled(before)


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(8, 32), nn.Linear(32, 5)
        self.inner = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.inner(self.first(x)))


class Attention(Encoder):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(32, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last(self.inner(x, x, x, need_weights=False)[0])


class Own(Encoder):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(32, 96)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.inner(self.first(x)).chunk(3, -1)
        heads = (part.unflatten(2, (4, 8)).transpose(1, 2) for part in parts)
        return self.last(functional.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2))


@pytest.mark.parametrize("every_layer", [True, False])
@pytest.mark.parametrize("build", [Encoder, Attention, Own])
def test_the_reference_equals_the_hardened_model(
    build: type[nn.Module], every_layer: bool, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = pc.binarize_(
        build(), pc.BinarizeConfig("bnn++"), lambda module, name: every_layer or name != "inner"
    ).eval()
    x = torch.randn(3, 12, 8)
    net = pc.load(pc.save(model, tmp_path / "m.safetensors", x), kernels="reference")
    for trained in (True, False):
        hardened = pc.harden_(copy.deepcopy(model)).requires_grad_(trained)
        for recorded in (True, False):
            with torch.set_grad_enabled(recorded):
                torch.backends.mha.set_fastpath_enabled(False)
                if trained:  # PyTorch folds the batch of such a product in another way
                    torch.testing.assert_close(net(x), hardened(x), rtol=1e-6, atol=1e-6)
                else:
                    assert torch.equal(net(x), hardened(x))
                torch.backends.mha.set_fastpath_enabled(True)
                torch.testing.assert_close(net(x), hardened(x), rtol=1e-5, atol=1e-6)
