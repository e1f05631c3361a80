"""A second reader of packed files, written from docs/format.md alone, with numpy and the standard library.

It shares nothing with the library: it decodes all weights, and refuses what the page says a reader refuses.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import keyword
import math
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

JSON = dict[str, Any]
CODES = {
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
    "U8": "uint8",
    "BOOL": "bool",
}
BYTES = dict(zip(CODES.values(), (2, 2, 4, 8, 1, 2, 4, 8, 1, 1), strict=True))
FIELDS = {"library", "method", "setting", "rest", "binary", "dense", "graph", "classes", "preprocessing"}
FIELDS |= {"metrics"}
ACCUMULATORS = {"32", *(f"{what} {bits}" for what in ("wrap", "saturate") for bits in range(4, 17))}
LIMIT = 16_777_216


class RefusedError(Exception):
    """The file breaks a rule of the page."""


@dataclass
class Packed:
    """A file that was read: fields of the header, decoded weights, and the graph if there is one."""

    header: JSON
    weights: dict[str, np.ndarray]
    graph: JSON | None = None
    tensors: dict[str, np.ndarray] = field(default_factory=dict)


def require(condition: object, message: str) -> None:
    if not condition:
        raise RefusedError(message)


def strict_json(data: bytes) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> JSON:
        require(len({key for key, _ in pairs}) == len(pairs), "a key twice")
        return dict(pairs)

    def constant(name: str) -> None:
        raise RefusedError(f"{name} in JSON")

    try:
        text = data.decode("utf-8")
        require(not text.startswith("\ufeff"), "a byte-order mark")
        value = json.loads(text, object_pairs_hook=unique, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"no JSON: {error}") from None
    check_json(value, 256)
    return value


def check_json(value: Any, depth: int) -> None:
    if isinstance(value, (list, dict)):
        require(depth, "JSON nested more than 256 deep")
        for item in [*value, *value.values()] if isinstance(value, dict) else value:
            check_json(item, depth - 1)
    elif isinstance(value, str):
        require(not any(0xD800 <= ord(c) < 0xE000 for c in value), "a lone surrogate")
    elif isinstance(value, float):
        require(math.isfinite(value), "an infinite number")


def known(value: Any, choices: Iterable[str]) -> bool:
    return isinstance(value, str) and value in choices


def whole(value: Any, least: int = 0) -> bool:
    return type(value) is int and least <= value < 2**63


def check_name(value: Any) -> None:
    good = isinstance(value, str) and 1 <= len(value) <= 1000
    require(good and not re.search(r"[\x00-\x1f\x7f-\x9f]", value), "no name")


def check_shape(value: Any) -> None:
    require(isinstance(value, list) and all(map(whole, value)), "no shape")
    require(len(value) <= 64, "more than 64 dimensions")
    require(math.prod(size or 1 for size in value) < 2**60, "sizes whose product overflows")


def check_keys(value: Any, needed: Iterable[str], optional: Iterable[str] = ()) -> None:
    require(isinstance(value, dict), "no object")
    needed = set(needed)
    require(needed <= value.keys() <= needed | set(optional), f"other keys than {sorted(needed)}")


def inflate(data: bytes, size: Any) -> bytes:
    require(whole(size) and size <= LIMIT, "a declared size beyond the limit")
    stream = zlib.decompressobj()
    try:
        raw = stream.decompress(data, size + 1)
    except zlib.error:
        raise RefusedError("no zlib stream") from None
    require(len(raw) == size and stream.eof and not stream.unused_data, "another size than declared")
    return raw


def read(data: bytes, with_graph: bool = True) -> Packed:
    """Read a file, with its graph or without, or raise :class:`RefusedError`."""
    require(len(data) >= 8, "shorter than 8 bytes")
    length = int.from_bytes(data[:8], "little")
    require(length <= len(data) - 8 and length <= 67_108_864, "a header longer than the file")
    text, body = data[8 : 8 + length], data[8 + length :]
    require(text.startswith(b"{"), "a header that is no object")
    table = strict_json(text)
    metadata = table.pop("__metadata__", None)
    check_keys(metadata, ["proxconnect"])
    require(isinstance(metadata["proxconnect"], str), "no header")
    header = read_header(metadata["proxconnect"])
    tensors = read_table(table, body)
    check_tensors(header, {name: (dtype, shape) for name, (dtype, shape, _) in tensors.items()})
    marker = rb"\"sha256\":\""
    require(text.count(marker) == 1, "the hash is not spelt as it must be")
    place = data.index(marker, 8) + len(marker)
    zeroed = data[:place] + b"0" * 64 + data[place + 64 :]
    require(hashlib.sha256(zeroed).hexdigest() == header["sha256"], "another hash")
    arrays = {name: array(*tensor) for name, tensor in tensors.items()}
    check_values(header, arrays)
    packed = Packed(header, decoded(header, arrays), tensors=arrays)
    if header["graph"] is not None and with_graph:
        packed.graph = read_graph(header, inflate(arrays["graph"].tobytes(), header["graph"]["raw_bytes"]))
    return packed


def read_header(text: str) -> JSON:
    outer = strict_json(text.encode())
    require(isinstance(outer, dict), "a header that is no object")
    version = outer.get("version")
    require(type(version) is int and version in (1, 2), "an unknown version")
    header = outer
    if version == 2:
        check_keys(outer, ["version", "sha256", "fields", "raw_bytes"])
        require(isinstance(outer["fields"], str), "fields that are no string")
        try:
            compressed = base64.b64decode(outer["fields"], validate=True)
        except (ValueError, binascii.Error):
            raise RefusedError("fields that are no base64") from None
        header = strict_json(inflate(compressed, outer["raw_bytes"]))
        check_keys(header, FIELDS)
        header |= {"version": version, "sha256": outer["sha256"]}
    check_keys(header, FIELDS | {"version", "sha256"})
    digits = header["sha256"]
    require(isinstance(digits, str) and re.fullmatch("[0-9a-f]{64}", digits), "no hash")
    require(all(isinstance(header[key], str) for key in ("library", "method", "setting")), "no string")
    require(header["rest"] in ("float32", "float16", "int8"), "unknown rest")
    for key in ("binary", "dense"):
        require(isinstance(header[key], dict), f"{key} is no object")
        for name, entry in header[key].items():
            check_name(name)
            (check_binary if key == "binary" else check_dense)(entry)
    check_graph_fields(header["graph"])
    check_facts(header)
    return header


def check_binary(entry: Any) -> None:
    check_keys(entry, ["bits", "shape"], ["group", "transposed", "accumulator"])
    require(type(entry["bits"]) is int and entry["bits"] in (1, 2), "bits are 1 or 2")
    check_shape(entry["shape"])
    require(len(entry["shape"]) >= 2 and 0 not in entry["shape"], "two or more sizes, none 0")
    require(all(whole(entry[key], 1) for key in ("group", "transposed") if key in entry), "from 1 on")
    require(known(entry.get("accumulator", "32"), ACCUMULATORS), "unknown accumulator")
    groups = entry.get("transposed", 1)
    require(entry["shape"][0] % groups == 0, "groups do not divide the inputs")
    require(groups == 1 or len(entry["shape"]) > 2, "a matrix has no groups")


def check_dense(entry: Any) -> None:
    check_keys(entry, ["dtype", "role", "shape"])
    require(known(entry["dtype"], BYTES), "unknown dtype")
    require(entry["role"] in ("parameter", "buffer", "constant"), "unknown role")
    check_shape(entry["shape"])


def check_graph_fields(graph: Any) -> None:
    if graph is None:
        return
    check_keys(graph, ["inputs", "raw_bytes"], ["sizes"])
    require(whole(graph["raw_bytes"]) and graph["raw_bytes"] <= LIMIT, "a graph beyond the limit")
    require(isinstance(graph["inputs"], list) and graph["inputs"], "no inputs")
    named = set()
    for given in graph["inputs"]:
        check_keys(given, ["dtype", "name", "shape"], ["keyword"])
        check_name(given["name"])
        require(known(given["dtype"], BYTES) and type(given.get("keyword", False)) is bool, "bad input")
        require(isinstance(given["shape"], list) and given["shape"][:1] == ["batch"], "no batch")
        for size in given["shape"]:
            require(whole(size) or (isinstance(size, str) and size.isidentifier()), "bad size")
        check_shape([1 if isinstance(size, str) else size for size in given["shape"]])
        named |= {size for size in given["shape"][1:] if isinstance(size, str)}
    names = [given["name"] for given in graph["inputs"]]
    require(len(set(names)) == len(names), "two inputs of one name")
    require(isinstance(graph.get("sizes", {}), dict), "sizes that are no object")
    for name, sizes in graph.get("sizes", {}).items():
        check_keys(sizes, ["least", "most", "step"])
        require(name in named - {"batch"}, "a size that no input has")
        require(whole(sizes["least"], 1) and whole(sizes["step"], 1), "from 1 on")
        require(sizes["most"] is None or whole(sizes["most"], sizes["least"]), "ends before it begins")


def check_facts(header: JSON) -> None:
    classes, metrics, steps = (header[key] for key in ("classes", "metrics", "preprocessing"))
    if classes is not None:
        require(isinstance(classes, list) and all(isinstance(c, str) for c in classes), "bad classes")
    if metrics is not None:
        require(isinstance(metrics, dict), "metrics that are no object")
        for name, value in metrics.items():
            check_name(name)
            require(type(value) in (int, float), "a metric that is no number")
            require(abs(value) <= float(np.finfo(np.float64).max), "a metric beyond float64")
    if steps is not None:
        check_keys(steps, ["mode", "size", "mean", "std", "resize"])
        channels = {"RGB": 3, "L": 1}.get(steps["mode"]) if isinstance(steps["mode"], str) else None
        require(channels and steps["resize"] == "bilinear", "unknown mode or resize")
        for key, count in (("size", 2), ("mean", channels), ("std", channels)):
            require(isinstance(steps[key], list) and len(steps[key]) == count, "another length")
        require(all(whole(side, 1) and side <= 16_384 for side in steps["size"]), "bad size")
        numbers = [*steps["mean"], *steps["std"]]
        require(all(type(n) in (int, float) and abs(n) < 1e6 for n in numbers), "no number")
        require(all(n >= 1e-6 for n in steps["std"]), "std of at least 1e-6")


def read_table(table: JSON, body: bytes) -> dict[str, tuple[str, list[int], bytes]]:
    tensors, spans = {}, []
    for name, row in table.items():
        check_name(name)
        check_keys(row, ["dtype", "shape", "data_offsets"])
        require(known(row["dtype"], CODES), "unknown dtype")
        check_shape(row["shape"])
        offsets = row["data_offsets"]
        require(isinstance(offsets, list) and len(offsets) == 2 and all(map(whole, offsets)), "bad offsets")
        dtype = CODES[row["dtype"]]
        require(offsets[1] - offsets[0] == math.prod(row["shape"]) * BYTES[dtype], "another size")
        spans.append(offsets)
        tensors[name] = dtype, row["shape"], body[offsets[0] : offsets[1]]
    end = 0
    for begin, stop in sorted(spans):
        require(begin == end, "a gap between tensors")
        end = stop
    require(end == len(body), "another size than that of the tensors")
    return tensors


def rows_of(entry: JSON) -> tuple[int, int]:
    """Count the rows, and the elements of a row."""
    shape = entry["shape"]
    out = shape[1] * entry["transposed"] if "transposed" in entry else shape[0]
    return out, math.prod(shape) // out


def check_tensors(header: JSON, found: dict[str, tuple[str, list[int]]]) -> None:
    expected: dict[str, tuple[set[str], list[list[int]] | None]] = {}

    def expect(name: str, dtypes: set[str], shapes: list[list[int]] | None) -> None:
        require(name not in expected, "two tensors of one name")
        expected[name] = dtypes, shapes

    for name, entry in header["binary"].items():
        out, k = rows_of(entry)
        width = [out, -(-k // 8)]
        ones = [1] * (len(entry["shape"]) - 1)
        expect(f"{name}.bits", {"uint8"}, [width if entry["bits"] == 1 else [2, *width]])
        grouped = "group" in entry
        shapes = [[out, -(-k // entry["group"])]] if grouped else [[out, *ones], [1, *ones]]
        expect(f"{name}.scale", {"float16", "bfloat16", "float32"}, shapes)
    for name, entry in header["dense"].items():
        require(name not in header["binary"], "both binary and dense")
        dtypes, matrix = {entry["dtype"]}, len(entry["shape"]) >= 2
        if narrow(header, entry) and matrix:
            dtypes = {header["rest"]}
        elif narrow(header, entry) and header["version"] > 1:
            dtypes = {"float16", "float32"}
        expect(name, dtypes, [entry["shape"]])
        if narrow(header, entry) and matrix and header["rest"] == "int8":
            expect(f"{name}.dequant", {"float32"}, [[entry["shape"][0]] + [1] * (len(entry["shape"]) - 1)])
    if header["graph"] is not None:
        expect("graph", {"uint8"}, None)
    require(found.keys() == expected.keys(), "missing or extra tensors")
    for name, (dtypes, shapes) in expected.items():
        dtype, shape = found[name]
        require(dtype in dtypes, "another dtype")
        require(len(shape) == 1 if shapes is None else shape in shapes, "another shape")


def narrow(header: JSON, entry: JSON) -> bool:
    """Tell whether a tensor follows ``rest``, and ``rest`` is not float32."""
    return entry["role"] == "parameter" and entry["dtype"] == "float32" and header["rest"] != "float32"


def array(dtype: str, shape: list[int], content: bytes) -> np.ndarray:
    """Make an array; bfloat16, which numpy lacks, becomes float32, and bool stays bytes."""
    if dtype == "bfloat16":
        return (np.frombuffer(content, "<u2").astype("<u4") << 16).view("<f4").reshape(shape)
    name = "uint8" if dtype == "bool" else dtype
    return np.frombuffer(content, np.dtype(name).newbyteorder("<")).reshape(shape)


def check_values(header: JSON, arrays: dict[str, np.ndarray]) -> None:
    for name, entry in header["binary"].items():
        out, k = rows_of(entry)
        planes = arrays[f"{name}.bits"].reshape(entry["bits"], out, -1)
        require(k % 8 == 0 or not (planes[:, :, -1] >> k % 8).any(), "padding bits")
        require(entry["bits"] == 1 or not (planes[1] & ~planes[0]).any(), "the sign of a zero")
        check_scale(arrays[f"{name}.scale"])
    for name, entry in header["dense"].items():
        if entry["dtype"] == "bool":
            require((arrays[name] <= 1).all(), "a bool of 2")
        if f"{name}.dequant" in arrays:
            check_scale(arrays[f"{name}.dequant"])
        if entry["role"] == "parameter":
            require(np.isfinite(arrays[name]).all(), "a parameter that is not finite")


def check_scale(scale: np.ndarray) -> None:
    require(np.isfinite(scale).all() and not np.signbit(scale).any(), "a scale not finite or with a sign")


def decoded(header: JSON, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    weights = {}
    for name, entry in header["binary"].items():
        weights[name] = binary_weight(entry, arrays[f"{name}.bits"], arrays[f"{name}.scale"])
    for name, entry in header["dense"].items():
        stored = arrays[name]
        if f"{name}.dequant" in arrays and entry["dtype"] == "float32":
            stored = stored.astype(np.float32) * arrays[f"{name}.dequant"]
        weights[name] = stored.astype("float32" if entry["dtype"] == "bfloat16" else entry["dtype"])
    return weights


def binary_weight(entry: JSON, bits: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Decode row by row, as section 3 counts."""
    out, k = rows_of(entry)
    planes = np.unpackbits(bits.reshape(entry["bits"], out, -1), axis=2, bitorder="little")[:, :, :k]
    scale = scale.astype(np.float32).reshape(len(scale), -1)
    weight = np.empty(entry["shape"], np.float32)
    for r in range(out):
        each = scale[r if len(scale) > 1 else 0, [i // entry.get("group", k) for i in range(k)]]
        row = np.where(planes[-1, r], each, -each)
        if entry["bits"] == 2:
            row = np.where(planes[0, r], row, np.float32(0))
        if "transposed" not in entry:
            weight[r] = row.reshape(entry["shape"][1:])
            continue
        inputs, outputs, *kernel = entry["shape"]
        inputs //= entry["transposed"]
        q, c = divmod(r, outputs)
        weight[q * inputs : (q + 1) * inputs, c] = row.reshape(inputs, *kernel)
    return weight


def read_graph(header: JSON, raw: bytes) -> JSON:
    graph = strict_json(raw)
    check_keys(graph, ["nodes", "output"], ["variants"])
    names = [given["name"] for given in header["graph"]["inputs"]]
    check_graph(header, graph, len(names))
    variants = graph.get("variants", [])
    require(isinstance(variants, list) and len(variants) <= 7, "at most 7 variants")
    seen = [names]
    for variant in variants:
        check_keys(variant, ["inputs", "nodes", "output"])
        taken = variant["inputs"]
        require(isinstance(taken, list) and taken, "no inputs")
        require([name for name in names if name in taken] == taken and taken not in seen, "bad variant")
        seen.append(taken)
        check_graph(header, variant, len(taken))
    return graph


def check_graph(header: JSON, graph: JSON, defined: int) -> None:
    require(isinstance(graph["nodes"], list), "no nodes")
    for node in graph["nodes"]:
        good = isinstance(node, list) and len(node) == 3 and isinstance(node[0], str)
        require(good and isinstance(node[1], list) and isinstance(node[2], dict), "no node")
        for argument in [*node[1], *node[2].values()]:
            check_argument(header, argument, defined, 50)
        defined += 1
    check_output(header, graph["output"], defined, 50)


def check_argument(header: JSON, argument: Any, defined: int, depth: int) -> None:
    if isinstance(argument, list):
        require(depth, "arguments nested more than 50 deep")
        for item in argument:
            check_argument(header, item, defined, depth - 1)
    elif isinstance(argument, dict):
        require(len(argument) == 1, "no argument")
        ((tag, content),) = argument.items()
        if tag == "value":
            require(type(content) is int and 0 <= content < defined, "a value of a later node")
        elif tag == "tensor":
            require(known(content, {**header["binary"], **header["dense"]}), "an unknown tensor")
        elif tag == "memory_format":
            formats = ("contiguous_format", "preserve_format", "channels_last", "channels_last_3d")
            require(content in formats, "an unknown memory format")
        elif tag == "dtype":
            require(known(content, BYTES), "an unknown dtype")
        else:
            require(tag == "float" and content in ("inf", "-inf", "nan"), "no argument")
    elif type(argument) is int:
        require(-(2**63) <= argument < 2**63, "a number beyond 64 bits")


def check_output(header: JSON, output: Any, defined: int, depth: int) -> None:
    tag = next(iter(output)) if isinstance(output, dict) and len(output) == 1 else None
    if tag not in ("tuple", "list", "dict", "named_tuple"):
        require(not isinstance(output, (list, str)), "an output that is a list or a string")
        require(tag not in ("dtype", "memory_format"), "an output that is no value")
        check_argument(header, output, defined, 0)
        return
    require(depth, "an output nested more than 50 deep")
    items = output[tag]
    if tag == "named_tuple":
        require(isinstance(items, list) and len(items) == 2, "no named tuple")
        name, items = items
        fields = [item[0] for item in items if isinstance(item, list) and item]
        for word in [name, *fields]:
            good = isinstance(word, str) and re.fullmatch("[A-Za-z][A-Za-z0-9_]*", word)
            require(good and not keyword.iskeyword(word), "no name of a field")
        require(len(set(fields)) == len(fields), "two fields of one name")
    require(isinstance(items, list), "no list")
    for item in items:
        if tag in ("dict", "named_tuple"):
            require(isinstance(item, list) and len(item) == 2 and isinstance(item[0], str), "no entry")
            item = item[1]
        check_output(header, item, defined, depth - 1)
