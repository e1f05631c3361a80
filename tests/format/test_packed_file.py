"""The packed file: what is written is read back, and what is not as specified is refused by name."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import re
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example as tried
from hypothesis import given, settings
from hypothesis import strategies as st
from looking import every, same_tensors

from proxconnect import format as packed_format
from proxconnect.errors import FormatError
from proxconnect.format import (
    BinaryTensor,
    DenseTensor,
    GraphInfo,
    Header,
    InputSpec,
    PackedFile,
    SizeRange,
    compressed_graph,
    decode,
    encode,
)

PREPROCESSING = {"mode": "L", "size": [32, 32], "mean": [0.5], "std": [0.25], "resize": "bilinear"}
GRAPH = b'{"nodes":[],"output":{"value":0}}'
Fields = dict[str, Any]


def example() -> PackedFile:
    header = Header(
        library="1.2.3",
        method="bnn++",
        setting="bw",
        binary={
            "a.weight": BinaryTensor((2, 3)),
            "b.weight": BinaryTensor((1, 2, 2, 2)),
            "t.weight": BinaryTensor((4, 1, 2), bits=2, group=3, transposed=2),
        },
        dense={
            "a.bias": DenseTensor((2,), "float32", "parameter"),
            "n.count": DenseTensor((), "int64", "buffer"),
            "mask": DenseTensor((2,), "bool", "constant"),
        },
        graph=GraphInfo(
            len(GRAPH),
            (
                InputSpec("x", "float32", ("batch", 3)),
                InputSpec("y", "float32", ("batch", "time"), keyword=True),
            ),
            {"time": SizeRange(2, 8, 2)},
        ),
        classes=("cat", 'dog"sha256":"'),
        preprocessing=PREPROCESSING,
        metrics={"accuracy": 0.75},
    )
    tensors = {
        "a.weight.bits": torch.tensor([[5], [2]], dtype=torch.uint8),
        "a.weight.scale": torch.tensor([[0.5], [0.25]], dtype=torch.float16),
        "b.weight.bits": torch.tensor([[170]], dtype=torch.uint8),
        "b.weight.scale": torch.full((1, 1, 1, 1), 0.125),
        "t.weight.bits": torch.tensor([[[9], [15]], [[8], [5]]], dtype=torch.uint8),
        "t.weight.scale": torch.tensor([[0.5, 1.0], [0.25, 2.0]], dtype=torch.bfloat16),
        "a.bias": torch.tensor([1.0, -2.0]),
        "n.count": torch.tensor(7),
        "mask": torch.tensor([True, False]),
        "graph": compressed_graph(GRAPH),
    }
    return PackedFile(header, tensors)


DATA = encode(example())


def split(data: bytes) -> tuple[Fields, Fields, bytes]:
    """Tensor table, header and tensor bytes of a file."""
    length = int.from_bytes(data[:8], "little")
    table = json.loads(data[8 : 8 + length])
    return table, unfolded(table.pop("__metadata__")["proxconnect"]), data[8 + length :]


def unfolded(text: str) -> Fields:
    """All fields of a header of version 2."""
    outer = json.loads(text)
    fields = json.loads(zlib.decompress(base64.b64decode(outer["fields"])))
    return {**fields, "sha256": outer["sha256"], "version": outer["version"]}


def plain(header: Fields) -> str:
    return json.dumps(header, sort_keys=True, separators=(",", ":"))


def folded(header: Fields, **changes: Any) -> str:
    """Write a header of version 2, with changes to what is stored."""
    raw = plain({key: value for key, value in header.items() if key not in ("sha256", "version")}).encode()
    beside = {key: header[key] for key in ("sha256", "version") if key in header}
    text = base64.b64encode(zlib.compress(raw, 9)).decode()
    return plain({**beside, "fields": text, "raw_bytes": len(raw), **changes})


def join(table: Fields, header: Fields | str, body: bytes) -> bytes:
    """Write a file from its parts, with the right hash."""
    text = header if isinstance(header, str) else folded(header)
    outer = json.dumps({"__metadata__": {"proxconnect": text}, **table}, separators=(",", ":")).encode()
    data = len(outer).to_bytes(8, "little") + outer + body
    return with_right_hash(data)


def with_right_hash(data: bytes) -> bytes:
    place = re.search(rb'\\"sha256\\":\\"([0-9a-f]{64})', data)
    if place is None:
        return data
    zeroed = data[: place.start(1)] + b"0" * 64 + data[place.end(1) :]
    return data[: place.start(1)] + hashlib.sha256(zeroed).hexdigest().encode() + data[place.end(1) :]


def same(a: PackedFile, b: PackedFile) -> bool:
    return (
        replace(a.header, sha256="") == replace(b.header, sha256="")
        and a.tensors.keys() == b.tensors.keys()
        and all(a.tensors[n].dtype == t.dtype and torch.equal(a.tensors[n], t) for n, t in b.tensors.items())
    )


def test_what_is_written_is_read_back() -> None:
    read = decode(DATA)
    assert same_tensors(read.tensors, example().tensors)
    assert read.graph_json() == GRAPH
    assert read.header.classes == ("cat", 'dog"sha256":"')
    assert read.header.binary["b.weight"].shape == (1, 2, 2, 2)


def test_tensors_lie_where_pytorch_would_put_them() -> None:
    tensors = decode(DATA).tensors
    assert every(tensor.data_ptr() % 64 == 0 for tensor in tensors.values())
    assert len({tensor.data_ptr() for tensor in tensors.values()}) == len(tensors)


def test_equal_contents_give_equal_bytes() -> None:
    assert encode(example()) == DATA
    assert encode(decode(DATA)) == DATA


def test_the_hash_is_of_the_file_with_zeros_in_its_place() -> None:
    assert with_right_hash(DATA) == DATA


def test_inspect_reads_the_header_alone(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(DATA)
    contents = packed_format.read_contents(path)
    assert contents.header == decode(DATA).header
    assert contents.file_bytes == len(DATA)
    assert sum(tensor.bytes for tensor in contents.tensors.values()) == len(split(DATA)[2])
    shown = str(contents)
    assert "bnn++" in shown
    assert "a.weight.bits" in shown
    assert "x float32 [batch, 3]" in shown


def test_rest_float16_and_int8_restore_the_logical_dtype() -> None:
    weight = torch.tensor([[1.0, -0.5], [0.0, 254.0]])
    header = Header("1", "fp", "fp", dense={"w": DenseTensor((2, 2), "float32", "parameter")}, rest="float16")
    half = decode(encode(PackedFile(header, {"w": weight.half()}))).dense("w")
    assert half.dtype == torch.float32
    assert torch.equal(half, weight)
    header = Header("1", "fp", "fp", dense={"w": DenseTensor((2, 2), "float32", "parameter")}, rest="int8")
    step = torch.tensor([[1 / 128], [2.0]])
    tensors = {"w": (weight / step).clamp(-127, 127).to(torch.int8), "w.dequant": step}
    restored = decode(encode(PackedFile(header, tensors))).dense("w")
    assert torch.allclose(restored, weight, atol=1 / 64)


def set_field(*path: Any, to: Any) -> Callable[[Fields, Fields], None]:
    def edit(table: Fields, header: Fields) -> None:
        place = header
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = to

    return edit


def set_table(name: str, key: str, to: Any) -> Callable[[Fields, Fields], None]:
    return lambda table, header: table[name].__setitem__(key, to)


BAD_HEADERS = [
    (set_field("version", to=3), "version 3 is unknown; this release reads 1 and 2"),
    (set_field("version", to=0), "version 0 is unknown"),
    (set_field("version", to=True), "version True is unknown"),
    (set_field("library", to=3), "header.library: expected a string"),
    (set_field("method", to=None), "header.method"),
    (set_field("setting", to=[]), "header.setting"),
    (set_field("rest", to="int4"), "header.rest: expected one of"),
    (set_field("extra", to=1), "field 'extra' is unknown"),
    (lambda table, header: header.pop("metrics"), "field 'metrics' is missing"),
    (set_field("classes", to=["a", 1]), r"header.classes\[1\]: expected a string"),
    (set_field("preprocessing", to=[]), "preprocessing is .*expected a mapping with the keys mode, size"),
    (set_field("preprocessing", "size", to=[32, 0]), r"preprocessing size is \[32, 0\]; expected"),
    (set_field("metrics", to={"a": "b"}), "header.metrics.*expected a finite number"),
    (set_field("binary", "a.weight", "bits", to=3), "header.binary.*bits: expected one of 1, 2"),
    (set_field("binary", "a.weight", "bits", to=2), r"a.weight.bits': shape \[2, 1\], expected \[2, 2, 1\]"),
    (set_field("binary", "a.weight", "group", to=0), "header.binary.*group: expected at least 1"),
    (set_field("binary", "a.weight", "group", to=None), "header.binary.*group: expected a whole number"),
    (set_field("binary", "a.weight", "group", to=2), r"a.weight.scale': shape \[2, 1\], expected \[2, 2\]"),
    (set_field("binary", "a.weight", "transposed", to=1), "a.weight.bits': shape"),
    (set_field("binary", "a.weight", "transposed", to=2), "a divisor of the first of three or more sizes"),
    (set_field("binary", "t.weight", "transposed", to=3), "a divisor of the first of three or more sizes"),
    (set_field("binary", "t.weight", "transposed", to=1), "t.weight.bits': shape"),
    (set_field("binary", "a.weight", "shape", to=[6]), "two or more sizes"),
    (set_field("binary", "a.weight", "shape", to=[2, -3]), "whole number"),
    (set_field("binary", "a.weight", "shape", to=[2**62, 2**62]), "product is below 2.60"),
    (set_field("binary", "a.weight", "shape", to=[2, 9]), "a.weight.bits.*shape"),
    (set_field("binary", "c.weight", to={"shape": [1, 1], "bits": 1}), "'c.weight.bits' is missing"),
    (lambda table, header: header["binary"].pop("b.weight"), "'b.weight.bits' is not in the header"),
    (set_field("dense", "a.bias", "dtype", to="complex64"), "header.dense.*dtype: expected one of"),
    (set_field("dense", "a.bias", "dtype", to="int32"), "'a.bias': dtype float32, expected int32"),
    (set_field("dense", "a.bias", "role", to="weight"), "role: expected one of"),
    (set_field("dense", "a.bias", "shape", to=[1, 2]), "'a.bias': shape"),
    (set_field("dense", "a.weight", to={"shape": [], "dtype": "bool", "role": "buffer"}), "both as binary"),
    (
        set_field("dense", "graph", to={"shape": [1], "dtype": "bool", "role": "buffer"}),
        "would be called 'graph'",
    ),
    (set_field("graph", to=None), "'graph' is not in the header"),
    (set_field("graph", "raw_bytes", to=2**40), "at most 16777216"),
    (set_field("graph", "inputs", 0, "shape", to=["", 3]), "header.graph.inputs"),
    (set_field("graph", "inputs", 0, "dtype", to="string"), "header.graph.inputs.*dtype"),
    (set_field("graph", "inputs", 0, "keyword", to=1), "keyword: expected one of True, False"),
    (set_field("graph", "inputs", 0, "name", to="y"), "graph.inputs: expected names that differ"),
    (set_field("graph", "sizes", to=[]), "header.graph.sizes: expected an object"),
    (set_field("graph", "sizes", "time", "least", to=0), "least: expected at least 1"),
    (set_field("graph", "sizes", "time", "most", to=1), "most: expected at least 2"),
    (set_field("graph", "sizes", "time", "step", to=None), "step: expected a whole number"),
    (set_field("graph", "sizes", "time", to={"least": 1}), "field '(most|step)' is missing"),
    (set_field("graph", "sizes", "batch", to={"least": 1, "most": 2, "step": 1}), "but not the batch"),
    (set_field("graph", "sizes", "depth", to={"least": 1, "most": 2, "step": 1}), "sizes that inputs name"),
    (set_field("sha256", to="ABC"), "header.sha256: expected 64"),
    (set_table("a.bias", "dtype", "F4"), "a packed file holds no 'F4'"),
    (set_table("a.bias", "shape", [2**40]), "offsets"),
    (set_table("a.bias", "shape", [True]), "whole numbers"),
    (set_table("a.bias", "data_offsets", [0]), "whole numbers"),
    (set_table("n.count", "data_offsets", [8, 16]), "begins at byte"),
    (lambda table, header: table["a.bias"].pop("shape"), "dtype, shape and data_offsets"),
    (lambda table, header: table.update({"a.bias": 3}), "dtype, shape and data_offsets"),
]


@pytest.mark.parametrize(("edit", "message"), BAD_HEADERS)
def test_a_bad_header_is_refused_by_field(edit: Callable[[Fields, Fields], None], message: str) -> None:
    table, header, body = split(DATA)
    edit(table, header)
    with pytest.raises(FormatError, match=message):
        decode(join(table, header, body))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "expected a JSON object"),
        ('{"version":1,"version":1}', "a key occurs twice"),
        ('{"version":NaN}', "not valid JSON"),
        ('{"version":1e999}', "not valid JSON"),
        ('{"version":"\\ud800"}', "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ('{"version":' + "9" * 5000 + "}", "not valid JSON"),
    ],
)
def test_header_text_that_is_not_strict_json_is_refused(text: str, message: str) -> None:
    table, _, body = split(DATA)
    with pytest.raises(FormatError, match=message):
        decode(join(table, text, body))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fields": "?"}, "header.fields: no base64"),
        ({"fields": "\u00e9"}, "header.fields: no base64"),
        ({"fields": 3}, "header.fields: expected a string"),
        ({"fields": base64.b64encode(b"nothing").decode()}, "header.fields: damaged zlib data"),
        ({"raw_bytes": 10}, "header.fields: does not decompress to the 10 bytes"),
        ({"raw_bytes": 2**40}, "header.raw_bytes: expected at most"),
        ({"raw_bytes": 1, "fields": base64.b64encode(zlib.compress(b"\xff")).decode()}, "not UTF-8"),
        ({"raw_bytes": 2, "fields": base64.b64encode(zlib.compress(b"[]")).decode()}, "a JSON object"),
        ({"raw_bytes": 13, "fields": base64.b64encode(zlib.compress(b'{"version":1}')).decode()}, "without"),
        ({"rest": "float32"}, "field 'rest' is unknown"),
    ],
)
def test_compressed_fields_that_are_damaged_are_refused(changes: Fields, message: str) -> None:
    table, header, body = split(DATA)
    with pytest.raises(FormatError, match=message):
        decode(join(table, folded(header, **changes), body))


def test_a_file_of_version_1_is_read_and_written() -> None:
    """Version 1 has all fields of the header as they are, and vectors in their own dtype."""
    table, header, body = split(DATA)
    data = join(table, plain({**header, "version": 1}), body)
    read = decode(data)
    assert read.header == replace(decode(DATA).header, version=1, sha256=read.header.sha256)
    assert same_tensors(read.tensors, example().tensors)
    assert encode(read) == data
    assert len(DATA) < len(data)


@pytest.mark.parametrize(("version", "dtypes"), [(1, "float32"), (2, "float16 or float32")])
def test_vectors_follow_rest_from_version_2_on(version: int, dtypes: str) -> None:
    dense = {"b": DenseTensor((2,), "float32", "parameter"), "mean": DenseTensor((2,), "float32", "buffer")}
    header = Header("1", "fp", "fp", dense=dense, rest="int8", version=version)
    values = torch.tensor([0.5, -2.0])
    stored = {"b": values.half() if version > 1 else values, "mean": values + 1}
    read = decode(encode(PackedFile(header, stored)))
    assert torch.equal(read.dense("b"), values)
    assert read.dense("b").dtype == torch.float32
    with pytest.raises(FormatError, match=f"'b': dtype float64, expected {dtypes}"):
        encode(PackedFile(header, {**stored, "b": values.double()}))
    with pytest.raises(FormatError, match="'mean': dtype float16, expected float32"):
        encode(PackedFile(header, {**stored, "mean": (values + 1).half()}))


def with_tensor(name: str, tensor: torch.Tensor) -> bytes:
    """Replace the bytes of one tensor of the example, with the right hash."""
    table, header, body = split(DATA)
    begin, end = table[name]["data_offsets"]
    content = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    assert len(content) == end - begin
    return join(table, header, body[:begin] + content + body[end:])


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("a.weight.bits", torch.tensor([[8], [0]], dtype=torch.uint8), "a.weight.bits.*padding bits"),
        ("t.weight.bits", torch.tensor([9, 31, 8, 5], dtype=torch.uint8), "t.weight.bits.*padding bits"),
        (
            "t.weight.bits",
            torch.tensor([9, 15, 4, 5], dtype=torch.uint8),
            "t.weight.bits.*0 has its sign bit",
        ),
        ("a.weight.scale", torch.tensor([[torch.nan], [1]]).half(), "a.weight.scale.*finite"),
        ("b.weight.scale", torch.tensor([-1.0]), "b.weight.scale.*not negative"),
        ("a.bias", torch.tensor([torch.inf, 0]), "'a.bias': NaN or infinite"),
        ("a.bias", torch.tensor([0, -torch.inf]), "'a.bias': NaN or infinite"),
        ("a.bias", torch.tensor([1, torch.nan]), "'a.bias': NaN or infinite"),
        ("mask", torch.tensor([2, 0], dtype=torch.uint8), "'mask': a bool must be stored as 0 or 1"),
    ],
)
def test_bad_values_are_refused_by_tensor(name: str, tensor: torch.Tensor, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        decode(with_tensor(name, tensor))


@pytest.mark.parametrize(
    ("compressed", "declared", "message"),
    [
        (b"no zlib", 5, "damaged zlib data"),
        (zlib.compress(bytes(50_000_000)), 100, "does not decompress to the 100 bytes"),
        (zlib.compress(b"abc"), 4, "does not decompress to the 4 bytes"),
        (zlib.compress(b"abc") + b"x", 3, "does not decompress"),
        (zlib.compress(b"abc")[:-1], 3, "does not decompress"),
    ],
)
def test_a_graph_that_is_not_what_it_declares_is_refused(
    compressed: bytes, declared: int, message: str
) -> None:
    header = Header("1", "fp", "fp", graph=GraphInfo(declared, ()))
    stored = torch.frombuffer(bytearray(compressed), dtype=torch.uint8)
    with pytest.raises(FormatError, match=message):
        PackedFile(header, {"graph": stored}).graph_json()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "shorter than 8 bytes"),
        (b"PK\x03\x04" + bytes(100), "not a safetensors file"),
        ((2).to_bytes(8, "little") + b"{}", "not one of ProxConnect"),
        ((2).to_bytes(8, "little") + b"[]", "not a safetensors file"),
        ((2).to_bytes(8, "little") + b"{\xff", "not UTF-8"),
        ((2**63).to_bytes(8, "little") + bytes(50), "truncated"),
        (DATA + b"\0", "extra bytes"),
        (DATA[:-1], "truncated"),
        (DATA[:-1] + bytes([DATA[-1] ^ 1]), "sha256"),
    ],
)
def test_other_files_and_damaged_files_are_refused(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "renamed.safetensors"
    path.write_bytes(data)
    with pytest.raises(FormatError, match=message) as caught:
        packed_format.read(path)
    assert "renamed.safetensors" in str(caught.value)


def test_a_foreign_safetensors_file_is_named_as_such(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "other.safetensors"
    save_file({"w": torch.zeros(2)}, path)
    for read in (packed_format.read, packed_format.read_contents):
        with pytest.raises(FormatError, match="not one of ProxConnect"):
            read(path)


def test_a_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    for read in (packed_format.read, packed_format.read_contents):
        with pytest.raises(FormatError, match="cannot be read: No such file"):
            read(tmp_path / "none.safetensors")


def test_the_writer_refuses_what_the_reader_would() -> None:
    good = example()
    with pytest.raises(FormatError, match="padding"):
        encode(
            PackedFile(
                good.header, {**good.tensors, "a.weight.bits": torch.full((2, 1), 255, dtype=torch.uint8)}
            )
        )
    with pytest.raises(FormatError, match=r"'a\.bias' is missing"):
        encode(PackedFile(good.header, {n: t for n, t in good.tensors.items() if n != "a.bias"}))
    with pytest.raises(FormatError, match="sha256"):
        encode(PackedFile(Header("1", "fp", "fp", preprocessing={"sha256": "a"}, version=1), {}))
    with pytest.raises(FormatError, match="JSON"):
        encode(PackedFile(Header("1", "fp", "fp", preprocessing={"size": torch.zeros(1)}), {}))
    with pytest.raises(FormatError, match="JSON"):
        encode(PackedFile(Header("1", "fp", "fp", metrics={"loss": float("nan")}), {}))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(DATA) - 1), st.integers(1, 255))
def test_any_changed_byte_is_noticed(position: int, change: int) -> None:
    data = bytearray(DATA)
    data[position] ^= change
    with pytest.raises(FormatError):
        decode(bytes(data))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(DATA) - 1))
def test_any_truncation_is_noticed(length: int) -> None:
    with pytest.raises(FormatError):
        decode(DATA[:length])


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(DATA) - 1), st.binary(min_size=0, max_size=3), st.integers(0, 3))
def test_edits_with_a_right_hash_are_refused_or_read_as_written(
    position: int, new: bytes, removed: int
) -> None:
    data = with_right_hash(DATA[:position] + new + DATA[position + removed :])
    try:
        read = decode(data)
    except FormatError:
        return
    assert same(decode(encode(read)), read)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([2**63, -1, "int8"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(place for key, value in items for place in places(value, (*path, key)))]


def without_defaults(header: dict[str, Any]) -> dict[str, Any]:
    """Leave out the optional fields of a graph that say what their absence says."""
    graph = copy.deepcopy(header["graph"])
    if graph.get("sizes") == {}:
        del graph["sizes"]
    for given_input in graph["inputs"]:
        if given_input.get("keyword") is False:
            del given_input["keyword"]
    return {**header, "graph": graph}


@settings(max_examples=300, deadline=None)
@tried(("graph", "sizes"), {})
@tried(("graph", "inputs", 1, "keyword"), False)
@given(st.sampled_from(places(split(DATA)[1])[1:]), JSON)
def test_any_header_field_changed_is_refused_or_is_the_new_value(path: tuple[Any, ...], value: Any) -> None:
    table, header, body = split(DATA)
    set_field(*path, to=value)(table, header)
    try:
        read = decode(join(table, header, body))
    except FormatError:
        return
    stored = unfolded(read.header.to_json())
    header["sha256"] = stored["sha256"]
    assert stored == (without_defaults(header) if header["graph"] else header)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(places(split(DATA)[0])[1:]), JSON)
def test_any_table_entry_changed_is_refused(path: tuple[Any, ...], value: Any) -> None:
    table, header, body = split(DATA)
    before = json.dumps(table)
    set_field(*path, to=value)(header, table)
    try:
        decode(join(table, header, body))
    except FormatError:
        return
    assert json.dumps(table) == before


def test_swapped_tensors_are_noticed() -> None:
    table, header, body = split(DATA)
    table["a.bias"], table["n.count"] = table["n.count"], table["a.bias"]
    with pytest.raises(FormatError, match="dtype"):
        decode(join(table, header, body))
