"""QONNX files: quantizers as FINN and hls4ml read them, run by the executor of the package qonnx."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from exported import digit_images, many_kinds

import proxconnect as pc

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxscript", reason="onnxscript is not installed")
DOMAIN = "qonnx.custom_op.general"


def quantizers(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path).graph.node if node.domain == DOMAIN)


def test_weights_and_binary_inputs_are_quantizers(tmp_path: Path) -> None:
    example, settings = torch.zeros(2, 3, 8, 8), {"example_inputs": torch.zeros(2, 3, 8, 8)}
    binary = pc.export.onnx(
        many_kinds(pc.BinarizeConfig.from_setting("bwa")), tmp_path / "a.onnx", "qonnx", **settings
    )
    assert quantizers(binary) == {"BipolarQuant": 6}
    ternary = many_kinds(pc.BinarizeConfig("binary-relax", levels=(-1, 0, 1), scale=10))
    packed = pc.save(ternary, tmp_path / "packed.safetensors", example, rest="int8")
    path = pc.export.onnx(packed, tmp_path / "b.onnx", form="qonnx")
    assert quantizers(path) == {"Quant": 5}
    floats = {onnx.TensorProto.FLOAT, onnx.TensorProto.INT64}
    assert {tensor.data_type for tensor in onnx.load(path).graph.initializer} <= floats


@pytest.mark.full
@pytest.mark.parametrize("name", ["resnet20-cifar10-bw", "resnet20-cifar10-bwa", "many kinds"])
def test_the_executor_of_qonnx_gives_the_answers_of_the_network(name: str, tmp_path: Path) -> None:
    pytest.importorskip("qonnx", reason="qonnx is not installed")
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx

    net: torch.nn.Module
    if name == "many kinds":
        model = many_kinds(pc.BinarizeConfig("binary-relax", levels=(-1, 0, 1), scale=10))
        images = torch.randn(2, 3, 8, 8)
        net = pc.load(pc.save(model, tmp_path / "packed.safetensors", images, rest="int8"))
    else:
        net, images = pc.zoo.load(name), digit_images(2)
    model = ModelWrapper(str(pc.export.onnx(net, tmp_path / "net.onnx", form="qonnx")))
    (input,) = model.graph.input
    model.set_tensor_shape(input.name, list(images.shape))
    found = execute_onnx(model, {input.name: images.numpy()})
    expected = net(images)
    for key, tensor in expected.items() if isinstance(expected, dict) else [("output", expected)]:
        torch.testing.assert_close(torch.from_numpy(found[key]), tensor, rtol=0, atol=1e-4)
