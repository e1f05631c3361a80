"""The strict reader of GGUF files: what it reads is what the package gguf reads, and the rest it refuses."""

from __future__ import annotations

import struct
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from gguf_files import TENSOR_TYPES, entry, file, key, text
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from looking import every

from proxconnect.errors import FormatError
from proxconnect.gguf._container import Container, read_container

KEYS = [
    key("general.architecture", "str", "llama"),
    key("a.u8", "u8", 255),
    key("a.i8", "i8", -128),
    key("a.u16", "u16", 65535),
    key("a.i16", "i16", -1),
    key("a.u32", "u32", 7),
    key("a.i32", "i32", -7),
    key("a.f32", "f32", 0.5),
    key("a.bool", "bool", 1),
    key("a.u64", "u64", 2**63),
    key("a.i64", "i64", -(2**62)),
    key("a.f64", "f64", 0.1),
    key("a.texts", "[str]", ["", "ä", "b c"]),
    key("a.numbers", "[i32]", [3, -2, 1]),
    key("a.truths", "[bool]", [1, 0]),
]
TENSORS = [
    entry("norm", (5,), TENSOR_TYPES["F32"], 0),
    entry("half", (2, 3), TENSOR_TYPES["F16"], 32),
    entry("bits", (2, 256), TENSOR_TYPES["Q1_0"], 64),
    entry("small", (2, 2, 2, 2), TENSOR_TYPES["BF16"], 160),
]
DATA = bytes(range(160)) + bytes(32)
GOOD = file(KEYS, TENSORS, DATA)


def read(data: bytes, folder: Path) -> Container:
    path = folder / "file.gguf"
    path.write_bytes(data)
    return read_container(path)


def same_as_the_package(found: Container) -> bool:
    """Tell whether the package gguf reads the same metadata and tensors."""
    reader = gguf.GGUFReader(found.path)
    fields = {name: one.contents() for name, one in reader.fields.items() if not name.startswith("GGUF.")}
    tensors = {
        tensor.name: (tensor.tensor_type.name, tuple(tensor.shape.tolist())[::-1], tensor.data_offset)
        for tensor in reader.tensors
    }
    ours = {name: (one.type, one.shape, one.start) for name, one in found.tensors.items()}
    return repr(fields) == repr(found.metadata) and tensors == ours


def test_a_file_is_read_as_the_package_reads_it(tmp_path: Path) -> None:
    found = read(GOOD, tmp_path)
    assert same_as_the_package(found)
    assert found.metadata["a.texts"] == ["", "ä", "b c"]
    assert found.tensors["bits"].shape == (2, 256)
    reader = gguf.GGUFReader(found.path)
    assert every(
        np.array_equal(found.bytes_of(t.name), t.data.view(np.uint8).ravel()) for t in reader.tensors
    )


def test_version_2_has_the_same_bytes(tmp_path: Path) -> None:
    assert same_as_the_package(read(file(KEYS, TENSORS, DATA, version=2), tmp_path))


HUGE = struct.pack("<Q", 2**62)
ONE = [entry("w", (32,), 0, 0)]
BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "no GGUF file"),
    "other magic": (b"GGML" + GOOD[4:], "no GGUF file"),
    "only the magic": (b"GGUF", "truncated: the version takes 4 bytes, and 0 are left"),
    "version 1": (file([], [], version=1), "GGUF of version 1; versions 2 and 3"),
    "big-endian": (file([], [], version=3 << 24), "versions 2 and 3 of little-endian machines"),
    "many tensors": (file([], [], counts=(2**63, 0)), "tensors and 0 keys do not fit in"),
    "many keys": (file([], [], counts=(0, 2**64 - 1)), "do not fit in"),
    "long key": (file([HUGE + bytes(40)], []), "a key takes 4611686018427387904 bytes"),
    "long text": (file([text("k") + struct.pack("<I", 8) + HUGE], []), "key 'k' takes"),
    "long array": (
        file([text("k") + struct.pack("<II", 9, 4) + HUGE], []),
        "key 'k' has 4611686018427387904",
    ),
    "array of arrays": (file([text("k") + struct.pack("<IIQ", 9, 9, 0)], []), "key 'k' has type 9"),
    "unknown type": (file([text("k") + struct.pack("<IQ", 13, 0)], []), "key 'k' has type 13"),
    "a third truth value": (file([key("k", "bool", 2)], []), "is the truth value 2"),
    "not UTF-8": (file([struct.pack("<Q", 1) + b"\xff" + struct.pack("<IQ", 0, 0)], []), "is not UTF-8"),
    "a key twice": (file([key("k", "u8", 1)] * 2, []), "the key 'k' occurs twice"),
    "a tensor twice": (file([], ONE * 2, bytes(128)), "occurs twice"),
    "a long name": (file([], [entry("n" * 65, (32,), 0, 0)], bytes(128)), "over 64 bytes"),
    "no dimension": (file([], [entry("w", (), 0, 0)], bytes(128)), "has 0 dimensions"),
    "five dimensions": (file([], [entry("w", (1,) * 5, 0, 0)], bytes(128)), "has 5 dimensions"),
    "a dimension of 0": (file([], [entry("w", (0, 4), 0, 0)]), "expected at least 1"),
    "too many elements": (file([], [entry("w", (2**40, 2**40), 0, 0)]), "at most 2^60 elements"),
    "type not read": (
        file([], [entry("w", (32,), 2, 0)], bytes(32)),
        "'w' has the GGUF type 2, which is not",
    ),
    "no whole block": (file([], [entry("w", (2, 64), 41, 0)], bytes(32)), "no whole blocks of 128"),
    "elsewhere": (file([], [entry("w", (32,), 0, 64)], bytes(192)), "begins at byte 64 of the data"),
    "alignment 3": (file([key("general.alignment", "u32", 3)], []), "expected a power of two"),
    "alignment 0": (file([key("general.alignment", "u32", 0)], []), "expected a power of two"),
    "alignment text": (file([key("general.alignment", "str", "32")], []), "expected a power of two"),
    "truncated data": (GOOD[:-64], "truncated, or followed by extra bytes"),
    "extra bytes": (GOOD + bytes(64), "truncated, or followed by extra bytes"),
}


@pytest.mark.parametrize("what", BAD)
def test_impossible_files_are_refused_in_one_line(what: str, tmp_path: Path) -> None:
    data, message = BAD[what]
    with pytest.raises(FormatError) as caught:
        read(data, tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "file.gguf") in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.gguf", tmp_path):
        with pytest.raises(FormatError, match="cannot be read"):
            read_container(path)


def test_a_file_that_becomes_shorter_is_refused(tmp_path: Path) -> None:
    found = read(GOOD, tmp_path)
    found.path.write_bytes(GOOD[:-100])
    with pytest.raises(FormatError, match="tensor 'small' ends before its 32 bytes"):
        found.bytes_of("small")


@pytest.mark.parametrize("length", range(0, len(GOOD) - 31, 7))
def test_every_truncated_file_is_refused(length: int, tmp_path: Path) -> None:
    with pytest.raises(FormatError):
        read(GOOD[:length], tmp_path)


PLACES = st.integers(0, len(GOOD) - len(DATA) - 1)
CHANGES = st.lists(
    st.tuples(PLACES, st.sampled_from([0, 1, 2, 8, 9, 32, 127, 128, 255])), min_size=1, max_size=3
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=CHANGES)
def test_a_changed_file_is_refused_or_read_as_the_package_reads_it(changes: Any, tmp_path: Path) -> None:
    data = bytearray(GOOD)
    for place, byte in changes:
        data[place] = byte
    found = None
    tracemalloc.start()
    with suppress(FormatError):
        found = read(bytes(data), tmp_path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2**20
    assert found is None or same_as_the_package(found)
