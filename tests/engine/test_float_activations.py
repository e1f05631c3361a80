"""GELU of a loaded network: by a kernel where no decision depends on it, else by torch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import proxconnect as pc
from proxconnect.engine import Network


class Mlp(nn.Module):
    """Two layers with a GELU between."""

    def __init__(self, approximate: str) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(64, 256), nn.Linear(256, 8)
        self.gelu = nn.GELU(approximate)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.gelu(self.first(x)))
        return y


def saved(folder: Path, setting: str, approximate: str) -> Path:
    torch.manual_seed(0)
    model = pc.binarize_(Mlp(approximate), pc.BinarizeConfig.from_setting(setting), lambda *_: True)
    return pc.save(model, folder / "mlp.safetensors", torch.zeros(1, 64))


def operators(net: Network) -> list[str]:
    return [node.op for node in net._fused[net.graph.names].graph.nodes]


@pytest.mark.parametrize("approximate", ["none", "tanh"])
@pytest.mark.parametrize("rows", [1, 40])
@torch.inference_mode()
def test_a_gelu_before_floats_is_a_kernels(tmp_path: Path, approximate: str, rows: int) -> None:
    path = saved(tmp_path, "bw", approximate)
    net, x = pc.load(path), torch.randn(rows, 64, generator=torch.Generator().manual_seed(1))
    assert "proxconnect.activation" in operators(net)
    assert "gelu" not in {row.operator for row in pc.summary(path).unfused}
    expected = pc.load(path, kernels="reference")(x)
    torch.testing.assert_close(net(x), expected, rtol=0, atol=1e-5 * expected.abs().max().item())


@torch.inference_mode()
def test_a_gelu_before_signs_is_torchs_unless_they_may_differ(tmp_path: Path) -> None:
    path = saved(tmp_path, "bwa", "none")
    net, fast = pc.load(path), pc.load(path, precision="fast")
    assert "aten.gelu.default" in operators(net)
    assert "proxconnect.activation" in operators(fast)
    x = torch.randn(40, 64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(net(x), pc.load(path, kernels="reference")(x), rtol=0, atol=1e-4)


def test_watched_calls_are_torchs(tmp_path: Path) -> None:
    net = pc.load(saved(tmp_path, "bw", "none"))
    x = torch.randn(40, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = net(x)
        found = torch.compile(net, fullgraph=True, backend="aot_eager")(x)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(torch.export.export(net, (x,)).module()(x), expected, rtol=0, atol=1e-5)
    net(x.requires_grad_()).sum().backward()
    assert x.grad is not None
    assert x.grad.any()
