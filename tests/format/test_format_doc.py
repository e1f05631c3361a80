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
import second_operators
import torch
from looking import same_tensors, some
from torch import nn
from vectors import good

import proxconnect as pc
from proxconnect.format import BinaryTensor, Header, PackedFile, decode, encode, pack_weight, read
from proxconnect.format._json import LONGEST_NAME, MOST_DIMENSIONS, MOST_ELEMENTS, MOST_NESTED
from proxconnect.format.container import HEADER_LIMIT
from proxconnect.format.header import GRAPH_LIMIT

PAGE = Path(__file__).parents[2] / "docs" / "format.md"


def blocks(language: str) -> list[str]:
    return some(re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE))


def graphs() -> list[Any]:
    """Read the graphs that the page shows."""
    return some(graph for graph in map(json.loads, blocks("json")) if "nodes" in graph)


def dumped_file() -> bytes:
    """Read the bytes of the page's hex dump, whose offsets and characters are those of the bytes."""
    (dump,) = blocks("text")
    data = b""
    for line in some(dump.splitlines()):
        row = bytes.fromhex(line[6:53])
        assert int(line[:4], 16) == len(data)
        assert line[55 : 55 + len(row)] == "".join(chr(c) if 32 <= c < 127 else "." for c in row)
        data += row
    return data


def reader_of_the_page() -> Callable[[Path], dict[str, Any]]:
    namespace: dict[str, Any] = {}
    (reader,) = blocks("python")
    exec(compile(reader, str(PAGE), "exec"), namespace)
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
    page = decode(dumped_file())
    assert same_tensors(page.tensors, written.tensors)
    assert replace(page.header, sha256="") == replace(written.header, sha256="")
    length = int.from_bytes(dumped_file()[:8], "little")
    text = dumped_file()[8 : 8 + length].decode()
    assert text.rstrip() + "\n" in blocks("json")
    fields = json.loads(json.loads(text)["__metadata__"]["proxconnect"])["fields"]
    assert zlib.decompress(base64.b64decode(fields)).decode() in PAGE.read_text()


def test_the_graphs_of_the_page_are_what_is_written(tmp_path: Path) -> None:
    linear, binary = graphs()
    assert read(good("linear")).graph_json() == json.dumps(linear, separators=(",", ":")).encode()
    model = nn.Sequential()
    model.add_module("fc", nn.Linear(9, 2))
    config = pc.BinarizeConfig.from_setting("bwaa", accumulator_bits=4)
    pc.binarize_(model, config, lambda module, name: True)
    path = pc.save(model, tmp_path / "m.safetensors", torch.zeros(1, 9))
    assert json.loads(read(path).graph_json() or b"") == binary


def test_the_page_has_the_operators_of_the_second_reader() -> None:
    section = PAGE.read_text().partition("## 6. Operators")[2].partition("\n## 7.")[0]
    rows = "\n".join(re.findall(r"^\| (`.*?) \| ", section, re.MULTILINE))
    found = re.findall(r"`([a-z_0-9]+(?:\.[A-Za-z_]+)?)\(", rows)
    names = {name if name.startswith(("integer.", "getitem")) else f"aten.{name}" for name in found}
    names = {name if "." in name[5:] or name[:5] != "aten." else f"{name}.default" for name in names}
    assert names == second_operators.OPERATORS.keys()
    assert len(found) == len(names)


def test_the_limits_of_the_page_are_those_of_the_library() -> None:
    section = PAGE.read_text().partition("## 8. Limits")[2].partition("\n## 9.")[0]
    numbers = {
        int(number.replace(",", "")) for number in re.findall(r"(?<![\d.+])[\d,]{2,}(?![\d.e])", section)
    }
    assert {HEADER_LIMIT, GRAPH_LIMIT, MOST_NESTED, MOST_DIMENSIONS, LONGEST_NAME} <= numbers
    assert MOST_ELEMENTS == 2**60
    assert "2^60 - 1" in section
