"""Any file ends in a network or in one FormatError of one line, and a second reader agrees on which."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import second_reader
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from looking import every
from vectors import expected, good, same_bits

import proxconnect as pc
from proxconnect.errors import FormatError, ProxConnectError
from proxconnect.format import decode, unpack_weight

JSON = dict[str, Any]


class File:
    """A good vector whose header, table of tensors, and graph can be changed, as values or as text."""

    def __init__(self, name: str) -> None:
        data = good(name).read_bytes()
        start = 8 + int.from_bytes(data[:8], "little")
        self.table: JSON = json.loads(data[8:start])
        del self.table["__metadata__"]
        packed = second_reader.read(data)
        self.header = {k: v for k, v in packed.header.items() if k not in ("version", "sha256")}
        self.graph: Any = packed.graph
        begin, end = self.table.pop("graph")["data_offsets"]
        self.body = data[start:][:begin] + data[start:][end:]
        for row in self.table.values():
            moved = row["data_offsets"][0] > begin
            row["data_offsets"] = [offset - moved * (end - begin) for offset in row["data_offsets"]]

    def bytes(self, fields: bytes | None = None, graph: bytes | None = None) -> bytes:
        """Write the file with the right hash and sizes; ``fields`` and ``graph`` may be other text."""
        raw = dumped(self.graph) if graph is None else graph
        content, table = zlib.compress(raw), dict(self.table)
        header_has_graph = isinstance(self.header, dict) and isinstance(self.header.get("graph"), dict)
        if header_has_graph:
            self.header["graph"]["raw_bytes"] = len(raw)
            offsets = [len(self.body), len(self.body) + len(content)]
            table["graph"] = {"dtype": "U8", "shape": [len(content)], "data_offsets": offsets}
        fields = dumped(self.header) if fields is None else fields
        text = base64.b64encode(zlib.compress(fields)).decode()
        outer = {"version": 2, "fields": text, "raw_bytes": len(fields), "sha256": "0" * 64}
        metadata = {"proxconnect": json.dumps(outer, separators=(",", ":"))}
        header = dumped({"__metadata__": metadata, **table})
        data = len(header).to_bytes(8, "little") + header + self.body + content
        return data.replace(b"0" * 64, hashlib.sha256(data).hexdigest().encode(), 1)


FILES = {name: File(name) for name in ("linear", "sequence-ternary")}
Place = tuple[Any, ...]


def places(tree: Any, path: Place = ()) -> list[Place]:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(place for key, value in items for place in places(value, (*path, key)))]


def every_place(part: str) -> st.SearchStrategy[tuple[str, Place]]:
    return st.sampled_from(
        [(name, place) for name, file in FILES.items() for place in places(getattr(file, part))]
    )


def changed(name: str, part: str, place: Place, value: Any) -> File:
    file = copy.deepcopy(FILES[name])
    value = copy.deepcopy(value)
    if not place:
        setattr(file, part, value)
        return file
    inside = getattr(file, part)
    for key in place[:-1]:
        inside = inside[key]
    inside[place[-1]] = value
    return file


# What Hypothesis could not print is a word here, and becomes lists inside of each other in the file.
DEEP = {f"deep {depth}": b"[" * depth + b"]" * depth for depth in (40, 60, 200, 300, 900, 100_000)}


def dumped(value: Any) -> bytes:
    text = json.dumps(value).encode()
    for name, lists in DEEP.items():
        text = text.replace(b'"' + name.encode() + b'"', lists)
    return text


STRANGE = [
    10**400,
    -(2**63),
    2**63 - 1,
    2**62,
    2**31,
    -1,
    0,
    1,
    64,
    "",
    "batch",
    "x",
    "a\nb",
    "\ud800",
    "n" * 2000,
]
STRANGE += [*DEEP, [1] * 65, [0, 2**62, 2**62], [2**40] * 3, {"value": 0}]
STRANGE += [
    {"float": "nan"},
    {"dtype": "int64"},
    {"tensor": "fc.bias"},
    {"value": 10**300},
    "relu\n",
    True,
    None,
]
VALUES = st.recursive(
    st.sampled_from(STRANGE) | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)


def refusal(call: Callable[[], Any]) -> str | None:
    """Return the message of a FormatError, which is one short line; None if there is no error."""
    try:
        call()
    except FormatError as error:
        message = str(error)
        assert "\n" not in message
        assert len(message) < 2000
        return message
    return None


def second_refuses(data: bytes, with_graph: bool) -> bool:
    try:
        second_reader.read(data, with_graph)
    except second_reader.RefusedError:
        return True
    return False


def readers_agree(data: bytes) -> None:
    """Assert that both readers take the file, with the same weights, or that both refuse it."""
    refused = refusal(lambda: decode(data))
    assert (refused is not None) == second_refuses(data, with_graph=False), refused
    if refused is None:
        packed, other = decode(data), second_reader.read(data, with_graph=False)
        for name, form in packed.header.binary.items():
            bits, scale = (packed.tensors[f"{name}.{part}"] for part in ("bits", "scale"))
            assert same_bits(other.weights[name], unpack_weight(bits, scale, form).numpy())
        for name, tensor in packed.header.dense.items():
            if tensor.dtype != "bfloat16":
                assert same_bits(other.weights[name], packed.dense(name).numpy())


@settings(max_examples=250)
@example(("linear", ("metrics",)), {"a": 10**400})
@example(("linear", ("preprocessing",)), {"size": "deep 900"})
@example(("linear", ("dense", "fc.bias", "shape")), [1] * 64 + [2])
@example(("linear", ("dense", "fc.bias", "shape")), [0, 2**62, 2**62])
@example(("linear", ("graph", "inputs")), [])
@example(("linear", ("graph", "inputs", 0, "shape")), [2, 3])
@example(("linear", ("library",)), "deep 900")
@given(every_place("header"), VALUES)
def test_readers_agree_on_any_header(where: tuple[str, Place], value: Any) -> None:
    readers_agree(changed(where[0], "header", where[1], value).bytes())


@settings(max_examples=100)
@example(("linear", ("mask", "shape")), "deep 900")
@given(every_place("table"), VALUES)
def test_readers_agree_on_any_table_of_tensors(where: tuple[str, Place], value: Any) -> None:
    file = changed(where[0], "table", where[1], value)
    if isinstance(file.table, dict):
        readers_agree(file.bytes())


def loads_or_refuses(data: bytes, path: Path, inputs: JSON) -> None:
    """Assert that a file loads or is refused; what loads answers, or ends in an error of the library."""
    path.write_bytes(data)
    if refusal(lambda: pc.load(path, kernels="reference", max_bytes=2**22)) is not None:
        return
    assert not second_refuses(data, with_graph=True)
    with suppress(ProxConnectError):
        pc.load(path, kernels="reference", max_bytes=2**22)(inputs)


def inputs_of(name: str) -> JSON:
    return {key: torch.tensor(value) for key, value in expected(name, "inputs").items()}


RELU = {"nodes": [["aten.relu.default", [2.5], {}]], "output": {"value": 1}}
PARTS = [["aten.chunk.default", [{"value": 0}, 3, 1], {}], ["getitem", [{"value": 1}, 7], {}]]


@settings(max_examples=150)
@example(("linear", ()), RELU)
@example(("linear", ()), {"nodes": PARTS, "output": {"value": 2}})
@example(("linear", ("nodes", 0, 1, 0)), "deep 900")
@given(every_place("graph"), VALUES)
def test_any_graph_loads_or_is_refused(tmp_path_factory: Any, where: tuple[str, Place], value: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "hostile.safetensors"
    data = changed(where[0], "graph", where[1], value).bytes()
    loads_or_refuses(data, path, inputs_of(where[0]))


TEXTS = st.sampled_from(
    [b"\xef\xbb\xbf", b"\xff", b"\\ud800", b"\0", b" \t\r\n", b"NaN", b"1e999", b"[" * 300, b'"', b"-"]
)


@settings(max_examples=100)
@example("linear", "graph", 0, b"\xef\xbb\xbf", 0)
@example("linear", "fields", 0, b"\xef\xbb\xbf", 0)
@example("linear", "graph", 0, b" \n\t\r", 0)
@given(
    st.sampled_from(sorted(FILES)),
    st.sampled_from(["graph", "fields"]),
    st.integers(0, 1500),
    TEXTS | st.binary(max_size=3),
    st.integers(0, 3),
)
def test_any_text_in_place_of_json_loads_or_is_refused(
    tmp_path_factory: Any, name: str, part: str, position: int, new: bytes, removed: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "hostile.safetensors"
    file = copy.deepcopy(FILES[name])
    file.bytes()  # puts the size of the graph into the header
    text = json.dumps(file.graph if part == "graph" else file.header).encode()
    position %= len(text)
    text = text[:position] + new + text[position + removed :]
    data = file.bytes(**{part: text})
    loads_or_refuses(data, path, inputs_of(name))
    if part == "fields":
        readers_agree(data)


def test_white_space_of_json_may_stand_between_its_parts() -> None:
    file = copy.deepcopy(FILES["linear"])
    spaced = json.dumps(file.graph, indent="\t").replace("\n", "\r\n").encode()
    data = file.bytes(fields=None, graph=spaced)
    readers_agree(data)
    assert decode(data).graph_json() == spaced
    assert every(not second_refuses(file.bytes(graph=text), True) for text in (spaced, b" \n" + spaced))
