"""A file's weights in a model that has none yet: one on the meta device."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from looking import every
from torch import Tensor, nn

import proxconnect as pc


class Model(nn.Module):
    """Tied weights, a recurrent layer, and buffers of each kind."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(9, 8)
        self.body = nn.Linear(8, 8)
        self.lstm = nn.LSTM(8, 8, batch_first=True)
        self.other = nn.GRU(8, 8, batch_first=True)
        self.norm = nn.BatchNorm1d(8)
        self.head = nn.Linear(8, 9)
        self.head.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.other(self.lstm(self.body(self.embed(tokens)))[0])[0]
        return self.head(self.norm(x.transpose(1, 2)).transpose(1, 2))


def saved(path: Path) -> tuple[Path, nn.Module]:
    torch.manual_seed(0)
    model = pc.binarize_(Model(), {"re:body|lstm": pc.BinarizeConfig("bnn++")})
    model(torch.arange(9).view(3, 3))  # moves BatchNorm's statistics
    return pc.save(model, path / "m.safetensors"), pc.harden_(model).eval()


@pytest.mark.parametrize("kernels", ["fast", "reference"])
def test_a_model_on_the_meta_device_is_filled(kernels: str, tmp_path: Path) -> None:
    path, hard = saved(tmp_path)
    with torch.device("meta"):
        model = Model()
    model.norm.weight.requires_grad_(False)
    loaded = pc.load(path, model=model, kernels=kernels)
    assert every(not tensor.is_meta for tensor in (*loaded.parameters(), *loaded.buffers()))
    assert loaded.head.weight is loaded.embed.weight
    assert loaded.head.weight.requires_grad
    assert not loaded.norm.weight.requires_grad
    tokens = torch.arange(9).view(3, 3)
    if kernels == "reference":
        assert torch.equal(loaded(tokens), hard(tokens))
    torch.testing.assert_close(loaded(tokens), hard(tokens))


def test_a_buffer_that_no_file_holds_is_named(tmp_path: Path) -> None:
    path, _ = saved(tmp_path)
    with torch.device("meta"):
        model = Model()
        model.register_buffer("angles", torch.ones(3), persistent=False)
    with pytest.raises(pc.ProxConnectError, match="buffer 'angles' of Model is on the meta device"):
        pc.load(path, model=model)
    assert every(tensor.is_meta for tensor in model.parameters())
    model.angles = torch.ones(3)
    assert every(not tensor.is_meta for tensor in pc.load(path, model=model).buffers())
