"""Plain programs on ExecuTorch, where it is installed: it needs another PyTorch than the pinned one."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from exported import digit_images

import proxconnect as pc


@pytest.mark.skipif(importlib.util.find_spec("executorch") is None, reason="no executorch")
@pytest.mark.parametrize("name", ["resnet20-cifar10-bw", "resnet20-cifar10-bwa"])
def test_a_network_runs_there(name: str, tmp_path: Path) -> None:
    from executorch.exir import to_edge
    from executorch.runtime import Runtime

    net, image = pc.zoo.load(name), digit_images(1)
    plain = torch.export.load(pc.export.torch(net, tmp_path / "net.pt2", "plain"))
    lowered = tmp_path / "net.pte"
    lowered.write_bytes(to_edge(plain).to_executorch().buffer)
    method = Runtime.get().load_program(lowered).load_method("forward")
    torch.testing.assert_close(method.execute([image])[0], net(image), rtol=0, atol=1e-4)
