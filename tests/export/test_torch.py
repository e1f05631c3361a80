"""Programs of torch.export: with the kernels, and with PyTorch's own operators for other compilers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from exported import digit_images, many_kinds
from looking import every, some

import proxconnect as pc


def operators(program: torch.export.ExportedProgram) -> list[str]:
    return [str(node.target) for node in program.graph.nodes if node.op == "call_function"]


def test_a_program_keeps_the_kernels(tmp_path: Path) -> None:
    images = digit_images(8)
    net = pc.zoo.load("resnet20-cifar10-bw")
    program = torch.export.load(pc.export.torch(net, tmp_path / "net.pt2"))
    assert sum(name.startswith("proxconnect.w1a32_conv2d") for name in operators(program)) == 18
    for batch in (images, images[:1]):
        torch.testing.assert_close(program.module()(batch), net(batch), rtol=0, atol=1e-5)
    assert (tmp_path / "net.pt2").stat().st_size < 600_000


def test_a_plain_program_has_operators_of_pytorch_alone(tmp_path: Path) -> None:
    model = many_kinds(pc.BinarizeConfig.from_setting("bwa"))
    x = torch.randn(3, 3, 8, 8)
    path = pc.export.torch(model, tmp_path / "net.pt2", "plain", example_inputs=x)
    code = "import sys, torch; torch.export.load(sys.argv[1]); assert 'proxconnect' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    program = torch.export.load(path)
    assert every(name.startswith("aten.") for name in operators(program))
    with torch.no_grad():
        expected = model(x)
    for found, wanted in zip(program.module()(x), expected.values(), strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


@pytest.mark.full
def test_a_model_becomes_a_program_with_kernels(tmp_path: Path) -> None:
    model, x = many_kinds(pc.BinarizeConfig.from_setting("bwa")), torch.randn(3, 3, 8, 8)
    program = torch.export.load(pc.export.torch(model, tmp_path / "net.pt2", example_inputs=x))
    assert some(name.startswith("proxconnect.w1a1_") for name in operators(program))
    with torch.no_grad():
        expected = model(x)
    for key, found in program.module()(x).items():
        torch.testing.assert_close(found, expected[key], rtol=0, atol=1e-5)


@pytest.mark.full
@pytest.mark.parametrize("name", ["resnet20-cifar10-bw", "resnet20-cifar10-bwa"])
def test_aotinductor_builds_and_runs_the_plain_program(name: str, tmp_path: Path) -> None:
    net, images = pc.zoo.load(name), digit_images(16)
    program = torch.export.load(pc.export.torch(net, tmp_path / "net.pt2", form="plain"))
    package = torch._inductor.aoti_compile_and_package(program, package_path=str(tmp_path / "package.pt2"))
    (found,) = torch._inductor.aoti_load_package(package)(images)
    torch.testing.assert_close(found, net(images), rtol=0, atol=1e-4)
    assert torch.equal(found.argmax(1), net(images).argmax(1))


def test_bad_arguments_are_refused(tmp_path: Path) -> None:
    layer, x = torch.nn.Linear(4, 2), torch.ones(1, 4)
    with pytest.raises(pc.ProxConnectError, match=r"ends in '\.pt2'"):
        pc.export.torch(layer, tmp_path / "net.pt", example_inputs=x)
    with pytest.raises(pc.ProxConnectError, match="unknown form 'plane'; did you mean 'plain'"):
        pc.export.torch(layer, tmp_path / "net.pt2", form="plane", example_inputs=x)
    with pytest.raises(pc.ProxConnectError, match="needs example_inputs"):
        pc.export.torch(layer, tmp_path / "net.pt2")
    assert not list(tmp_path.iterdir())
