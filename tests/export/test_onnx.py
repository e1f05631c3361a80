"""ONNX files: standard operators, weights of int8 codes and scales, and the answers of the network."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exported import digit_images, many_kinds
from looking import every
from torch import Tensor, nn
from torch.nn import functional

import proxconnect as pc
from proxconnect.errors import ExportError, FormatError, MissingPackageError, WriteError

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxscript", reason="onnxscript is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

X = torch.zeros(2, 3, 8, 8)
FULL = pytest.mark.full
QUICK = ("resnet20-cifar10-bw", "groups of a ternary weight", "8-bit sums")


def quick_ones(names: Iterable[str]) -> list[Any]:
    return [pytest.param(name, marks=() if name in QUICK else FULL) for name in names]


def answers(path: Path, **inputs: Tensor) -> dict[str, Tensor]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    feed = {name: tensor.numpy() for name, tensor in inputs.items()}
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, map(torch.from_numpy, session.run(None, feed)), strict=True))


def assert_standard(path: Path) -> Any:
    """Check the file with ONNX's own checker, and that no operator is of another domain."""
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 18)]
    assert not model.functions
    assert b"/export/" not in model.SerializeToString(), "paths of the tracing machine"
    return model


def codes(model: Any) -> dict[str, np.ndarray[Any, Any]]:
    int8 = onnx.TensorProto.INT8
    return {
        tensor.name: onnx.numpy_helper.to_array(tensor)
        for tensor in model.graph.initializer
        if tensor.data_type == int8
    }


@pytest.mark.parametrize("name", quick_ones(pc.zoo.list()))
def test_networks_of_the_zoo_give_their_answers(name: str, tmp_path: Path) -> None:
    net = pc.zoo.load(name)
    path = pc.export.onnx(net, tmp_path / "net.onnx")
    model = assert_standard(path)
    weights = codes(model)
    assert len(weights) == len(net.header.binary)
    assert every((np.abs(weight) == 1).all() for weight in weights.values())
    rest = sum(4 * net._lookup(tensor).numel() for tensor in net.header.dense)
    scales = sum(4 * len(weight) for weight in weights.values())
    assert path.stat().st_size < 1.02 * (sum(w.size for w in weights.values()) + scales + rest) + 300 * len(
        net.graph.nodes
    )
    for count in (200, 1):
        images = digit_images(200)[:count]
        found, expected = answers(path, images=images)["output"], net(images)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
        assert torch.equal(found.argmax(1), expected.argmax(1))
    facts = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert tuple(facts.pop("classes")) == net.classes
    assert facts == {
        "method": net.header.method,
        "setting": net.header.setting,
        "preprocessing": net.preprocessing,
        "metrics": net.metrics,
    }


CONFIGS: dict[str, tuple[pc.BinarizeConfig, set[int]]] = {
    "groups of a ternary weight": (
        pc.BinarizeConfig("binary-relax", levels=(-1, 0, 1), scale=10), {-1, 0, 1}
    ),
    "one scale of other levels": (
        pc.BinarizeConfig("binary-relax", levels=(-3, -1, 1, 3), scale="tensor"), {-3, -1, 1, 3}
    ),
    "8-bit sums": (pc.BinarizeConfig.from_setting("bwaa", learn_thresholds=True), {-1, 1}),
    "5-bit sums": (
        pc.BinarizeConfig.from_setting("bwaa", accumulator_bits=5, overflow="saturate"), {-1, 1}
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", quick_ones(CONFIGS))
def test_every_kind_of_rows_scales_and_sums(name: str, tmp_path: Path) -> None:
    config, levels = CONFIGS[name]
    model = many_kinds(config)
    path = pc.export.onnx(model, tmp_path / "net.onnx", example_inputs=X)
    weights = codes(assert_standard(path))
    assert len(weights) == 3
    assert every(set(np.unique(weight)) <= levels | {0} for weight in weights.values())
    x = torch.randn(3, 3, 8, 8)
    with torch.no_grad():
        expected = model(x)
    found = answers(path, x=x)
    assert list(found) == ["features", "logits"]
    for key, tensor in expected.items():
        torch.testing.assert_close(found[key], tensor, rtol=0, atol=1e-4)


def test_a_model_and_its_packed_file_become_the_same_file(tmp_path: Path) -> None:
    model = many_kinds(pc.BinarizeConfig())
    packed = pc.save(model, tmp_path / "packed.safetensors", X)
    of_model = pc.export.onnx(model, tmp_path / "model.onnx", example_inputs=X)
    of_file = pc.export.onnx(packed, tmp_path / "file.onnx")
    assert of_model.read_bytes() == of_file.read_bytes()


def test_dense_matrices_of_int8_stay_so(tmp_path: Path) -> None:
    packed = pc.save(many_kinds(pc.BinarizeConfig()), tmp_path / "packed.safetensors", X, rest="int8")
    path = pc.export.onnx(packed, tmp_path / "net.onnx")
    assert set(codes(assert_standard(path))) == {
        f"{layer}.weight" for layer in ("first", "grouped", "turned", "hidden", "last")
    }
    x = torch.randn(2, 3, 8, 8)
    found, expected = answers(path, x=x), pc.load(packed)(x)
    torch.testing.assert_close(found["logits"], expected["logits"], rtol=0, atol=1e-4)


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.query, self.head = nn.Embedding(30, 16), nn.Linear(16, 16), nn.Linear(16, 5)

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        x = self.table(ids)
        x = functional.scaled_dot_product_attention(self.query(x), x, x, attn_mask=mask[:, None])
        return self.head(x), x.mean(1)


def test_batch_and_named_sizes_vary(tmp_path: Path) -> None:
    ids, mask = torch.randint(30, (2, 9)), torch.ones(2, 9, dtype=torch.bool)
    model = pc.binarize_(Words().eval(), pc.BinarizeConfig(), lambda module, name: name == "query")
    packed = pc.save(model, tmp_path / "words.safetensors", (ids, mask), dynamic={1: ("words", 2, 64)})
    path = pc.export.onnx(packed, tmp_path / "words.onnx")
    shapes = [
        [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in assert_standard(path).graph.input
    ]
    assert shapes == [["batch", "words"], ["batch", "words"]]
    net = pc.load(packed)
    for batch, words in ((1, 4), (3, 33)):
        ids = torch.randint(30, (batch, words))
        mask = torch.arange(words).expand(batch, -1) <= words // 2
        found = answers(path, ids=ids, mask=mask)
        for tensor, expected in zip(found.values(), net(ids, mask), strict=True):
            torch.testing.assert_close(tensor, expected, rtol=0, atol=1e-4)
        assert list(found) == ["output_0", "output_1"]


class Unknown(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.lgamma(x)


def test_what_cannot_be_exported_is_said_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, layer = tmp_path / "net.onnx", nn.Linear(4, 2)
    for message, model, options in (
        ("no operator of ONNX for 'lgamma'", Unknown(), {"example_inputs": torch.ones(1, 2)}),
        ("needs example_inputs", layer, {}),
        ("are for models", pc.zoo.load("resnet20-cifar10-bw"), {"example_inputs": torch.ones(1, 2)}),
        ("unknown form 'qonx'; did you mean 'qonnx'", layer, {"form": "qonx"}),
    ):
        with pytest.raises(pc.ProxConnectError, match=message):
            pc.export.onnx(model, path, **options)
    without = pc.save(layer, tmp_path / "weights.safetensors")
    with pytest.raises(FormatError, match=r"weights\.safetensors: the file has weights but no graph"):
        pc.export.onnx(without, path)
    with pytest.raises(WriteError, match="there is no folder"):
        pc.export.onnx(layer, tmp_path / "none" / "net.onnx", example_inputs=torch.ones(1, 4))
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(MissingPackageError, match=r'onnxscript.*pip install "proxconnect\[export\]"'):
        pc.export.onnx(layer, path, example_inputs=torch.ones(1, 4))
    assert [each.name for each in tmp_path.iterdir()] == ["weights.safetensors"]
    assert issubclass(ExportError, pc.ProxConnectError)
