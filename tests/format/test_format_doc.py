"""The format's page is true: its reader reads what is written, and its example is what is written."""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from looking import same_tensors
from torch import nn

import proxconnect as pc
from proxconnect.format import BinaryTensor, Header, PackedFile, decode, encode, pack_weight

PAGE = Path(__file__).parents[2] / "docs" / "format.md"


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def reader_of_the_page() -> Callable[[Path], dict[str, Any]]:
    namespace: dict[str, Any] = {}
    exec(compile(block("python"), str(PAGE), "exec"), namespace)
    return namespace["read_weights"]


@pytest.mark.parametrize("rest", ["float32", "float16", "int8"])
def test_the_reader_of_the_page_reads_the_same_weights(rest: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3, groups=2), nn.Flatten(), nn.Linear(6, 3)
    )
    pc.binarize_(model, pc.BinarizeConfig())
    path = pc.save(model, tmp_path / "m.safetensors", torch.zeros(1, 2, 5, 5), rest=rest)
    net = pc.load(path, kernels="reference")
    weights = reader_of_the_page()(path)
    expected = {**dict(net.model.named_parameters()), **dict(net.model.named_buffers())}
    expected = {name: tensor for name, tensor in expected.items() if not name.startswith("2.weight")}
    expected["2.weight"] = net.model.get_submodule("2.weight")()
    assert weights.keys() == expected.keys()
    for name, tensor in expected.items():
        assert np.array_equal(weights[name], tensor.detach().numpy()), name
        assert weights[name].dtype == tensor.detach().numpy().dtype, name


@pytest.mark.parametrize("transposed", [None, 1, 2])
@pytest.mark.parametrize("group", [None, 5])
@pytest.mark.parametrize("bits", [1, 2])
def test_the_reader_of_the_page_reads_every_kind_of_weight(
    bits: int, group: int | None, transposed: int | None, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    form = BinaryTensor((4, 3, 2, 3), bits, group, transposed)
    scale = torch.rand(form.rows.scale_shapes[0]) + 0.5
    codes = torch.randint(-1, 2, form.shape) if bits == 2 else torch.randint(2, form.shape) * 2 - 1
    weight = codes * form.rows.spread(scale)
    tensors = {"w.bits": pack_weight(weight, form), "w.scale": scale}
    (tmp_path / "m").write_bytes(encode(PackedFile(Header("1", "bc", "bw", binary={"w": form}), tensors)))
    assert np.array_equal(reader_of_the_page()(tmp_path / "m")["w"], weight.numpy())


def test_the_example_of_the_page_is_what_is_written() -> None:
    """The bytes of a zlib stream depend on the zlib that wrote it, so the page's file is read."""
    bits = torch.tensor([[5], [2]], dtype=torch.uint8)
    scale = torch.tensor([[0.5], [0.25]], dtype=torch.float16)
    header = Header("0.1.0", "bc", "bw", binary={"weight": BinaryTensor((2, 3))})
    written = decode(encode(PackedFile(header, {"weight.bits": bits, "weight.scale": scale})))
    text = block("json").strip().encode() + b"  "
    page = decode(len(text).to_bytes(8, "little") + text + bytes.fromhex(block("text")))
    assert same_tensors(page.tensors, written.tensors)
    assert replace(page.header, sha256="") == replace(written.header, sha256="")
    fields = json.loads(json.loads(text)["__metadata__"]["proxconnect"])["fields"]
    assert zlib.decompress(base64.b64decode(fields)).decode() in PAGE.read_text()
