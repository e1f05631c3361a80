"""A packed file in parts, written byte by byte without the library."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

ZEROS = "0" * 64
JSON = dict[str, Any]
Change = Callable[["File"], object]


def stored(data: bytes) -> bytes:
    """Write a zlib stream without compression, whose bytes are the same whatever zlib there is."""
    assert len(data) < 2**16
    sizes = struct.pack("<HH", len(data), len(data) ^ 0xFFFF)
    return b"\x78\x01\x01" + sizes + data + struct.pack(">I", zlib.adler32(data))


def plain(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


class File:
    """A file in parts that can be changed before it is written: the weights of a 1-bit linear layer.

    ``fields`` are the fields that are compressed, ``outer`` those beside them, ``tensors`` the content of
    the tensors as (dtype, shape, bytes), and ``graph`` the JSON of the graph.
    """

    def __init__(self, version: int = 2) -> None:
        self.fields: JSON = {
            "library": "0.1.0",
            "method": "bnn++",
            "setting": "bw",
            "rest": "float32",
            "binary": {"fc.weight": {"bits": 1, "shape": [2, 3]}},
            "dense": {
                "fc.bias": {"dtype": "float32", "role": "parameter", "shape": [2]},
                "mask": {"dtype": "bool", "role": "buffer", "shape": [2]},
            },
            "graph": None,
            "classes": None,
            "preprocessing": None,
            "metrics": None,
        }
        self.outer: JSON = {"version": version, "sha256": ZEROS}
        self.table: dict[str, JSON] = {}
        self.tensors: dict[str, tuple[str, list[int], bytes]] = {
            "fc.weight.scale": ("F16", [2, 1], np.array([0.5, 0.25], "<f2").tobytes()),
            "fc.weight.bits": ("U8", [2, 1], bytes([5, 2])),
            "fc.bias": ("F32", [2], np.array([1.0, -2.0], "<f4").tobytes()),
            "mask": ("BOOL", [2], bytes([1, 0])),
        }
        self.graph: Any = None
        self.graph_bytes: bytes | None = None
        self.raw_fields: bytes | None = None
        self.header_text: Callable[[str], str] = lambda text: text
        self.outer_text: Callable[[bytes], bytes] = lambda text: text
        self.body: Callable[[bytes], bytes] = lambda body: body
        self.whole: Callable[[bytes], bytes] = lambda data: data

    def header(self) -> str:
        if self.outer["version"] == 1:
            return plain({**self.fields, **self.outer})
        raw = plain(self.fields).encode() if self.raw_fields is None else self.raw_fields
        packed = {"fields": base64.b64encode(stored(raw)).decode(), "raw_bytes": len(raw)}
        return plain({**packed, **self.outer})

    def bytes(self) -> bytes:
        if self.graph is not None:
            raw = plain(self.graph).encode() if self.graph_bytes is None else self.graph_bytes
            self.fields["graph"].setdefault("raw_bytes", len(raw))
            content = stored(raw)
            self.tensors.setdefault("graph", ("U8", [len(content)], content))
        table, body = {}, b""
        for name, (dtype, shape, content) in self.tensors.items():
            offsets = [len(body), len(body) + len(content)]
            table[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
            body += content
        for name, change in self.table.items():
            table.setdefault(name, {}).update(change)
        metadata = {"proxconnect": self.header_text(self.header())}
        text = json.dumps({"__metadata__": metadata, **table}, separators=(",", ":")).encode()
        text = self.outer_text(text + b" " * (-len(text) % 8))
        return self.whole(hashed(len(text).to_bytes(8, "little") + text + self.body(body)))


class Network(File):
    """A file with weights and a network: the linear layer, and a ReLU."""

    def __init__(self, version: int = 2) -> None:
        super().__init__(version)
        self.fields["graph"] = {"inputs": [{"dtype": "float32", "name": "x", "shape": ["batch", 3]}]}
        arguments = [{"value": 0}, {"tensor": "fc.weight"}, {"tensor": "fc.bias"}]
        nodes = [["aten.linear.default", arguments, {}], ["aten.relu.default", [{"value": 1}], {}]]
        self.graph = {"nodes": nodes, "output": {"value": 2}}


def hashed(data: bytes) -> bytes:
    """Put the right hash into a file whose hash is zeros."""
    return data.replace(ZEROS.encode(), hashlib.sha256(data).hexdigest().encode(), 1)


def changed(file: File, change: Change) -> bytes:
    change(file)
    return file.bytes()


def at(*path: Any, to: Any) -> Change:
    """Change what lies at a path: an attribute of the file, and then keys."""

    def change(file: File) -> None:
        place = getattr(file, path[0])
        if len(path) == 1:
            setattr(file, path[0], to)
            return
        for key in path[1:-1]:
            place = place[key]
        place[path[-1]] = to

    return change


def gone(*path: Any) -> Change:
    def change(file: File) -> None:
        place = getattr(file, path[0])
        for key in path[1:-1]:
            place = place[key]
        del place[path[-1]]

    return change


def node(op: str, *args: Any, **kwargs: Any) -> Change:
    """Make a graph of one node, whose result is the output."""
    return at("graph", to={"nodes": [[op, list(args), kwargs]], "output": {"value": 1}})


def tensor(name: str, dtype: str, shape: list[int], content: bytes) -> Change:
    return at("tensors", name, to=(dtype, shape, content))


def each(*changes: Change) -> Change:
    def change(file: File) -> None:
        for one in changes:
            one(file)

    return change


def nested(depth: int) -> Any:
    return json.loads("[" * depth + "]" * depth)
