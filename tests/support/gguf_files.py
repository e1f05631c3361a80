"""GGUF files made byte by byte, so that they can say anything."""

from __future__ import annotations

import struct
from typing import Any

TYPES = {"u8": 0, "i8": 1, "u16": 2, "i16": 3, "u32": 4, "i32": 5, "f32": 6, "bool": 7, "str": 8, "array": 9}
TYPES |= {"u64": 10, "i64": 11, "f64": 12}
FORMS = {"u8": "B", "i8": "b", "u16": "H", "i16": "h", "u32": "I", "i32": "i", "f32": "f", "bool": "B"}
FORMS |= {"u64": "Q", "i64": "q", "f64": "d"}
TENSOR_TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "BF16": 30, "TQ1_0": 34, "TQ2_0": 35, "Q1_0": 41}


def text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def plain(kind: str, value: Any) -> bytes:
    return text(value) if kind == "str" else struct.pack(f"<{FORMS[kind]}", value)


def key(name: str, kind: str, value: Any) -> bytes:
    """Write a key; ``kind`` is a type, or ``"[type]"`` for an array."""
    if kind.startswith("["):
        inner = kind[1:-1]
        array = struct.pack("<IIQ", TYPES["array"], TYPES[inner], len(value))
        return text(name) + array + b"".join(plain(inner, one) for one in value)
    return text(name) + struct.pack("<I", TYPES[kind]) + plain(kind, value)


def entry(name: str, shape: tuple[int, ...], kind: int, offset: int) -> bytes:
    """Write a row of the table of tensors; ``shape`` has rows first."""
    dimensions = struct.pack(f"<I{len(shape)}Q", len(shape), *shape[::-1])
    return text(name) + dimensions + struct.pack("<IQ", kind, offset)


def file(
    keys: list[bytes],
    entries: list[bytes],
    data: bytes = b"",
    *,
    magic: bytes = b"GGUF",
    version: int = 3,
    counts: tuple[int, int] | None = None,
) -> bytes:
    """Put a file together; ``counts`` of tensors and keys are right unless they are given."""
    tensors, values = counts or (len(entries), len(keys))
    head = magic + struct.pack("<IQQ", version, tensors, values) + b"".join([*keys, *entries])
    return head + bytes(-len(head) % 32) + data
