"""The container of a GGUF file: its metadata and its table of tensors, read by strict rules.

The reader of the package ``gguf`` believes the counts and sizes that a file claims, and loops as often as
they say. This one believes nothing: a count is compared with the bytes that are left before anything is read,
and every tensor has to lie where the tensors before it end.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from proxconnect.errors import FormatError, shown
from proxconnect.gguf._blocks import BLOCK_TYPES, Bytes

MAGIC = b"GGUF"
VERSIONS = (
    2,
    3,
)  # of the same bytes; version 3 may also be written by big-endian machines, and is then refused
LONGEST_NAME = 64
MOST_DIMENSIONS = 4
MOST_ELEMENTS = 2**60

_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 10: "<Q", 11: "<q", 12: "<d"}
_BOOL, _STRING, _ARRAY = 7, 8, 9
_TYPE_NUMBERS = {0: "F32", 1: "F16", 30: "BF16", 34: "TQ1_0", 35: "TQ2_0", 41: "Q1_0"}
_FLOAT_BYTES = {"F32": 4, "F16": 2, "BF16": 2}


class StoredTensor(NamedTuple):
    """A tensor of the table.

    Args:
        type: ``"F32"``, ``"F16"``, ``"BF16"``, or one of :data:`BLOCK_TYPES`.
        shape: its dimensions, rows first.
        start: the first of its bytes in the file.
        bytes: how many they are.
    """

    type: str
    shape: tuple[int, ...]
    start: int
    bytes: int


@dataclass(frozen=True)
class Container:
    """The metadata and the table of tensors of a GGUF file.

    Args:
        path: the file.
        metadata: values by key; arrays are lists.
        tensors: the table of tensors, in the order of the file.
    """

    path: Path
    metadata: dict[str, Any]
    tensors: dict[str, StoredTensor]

    def bytes_of(self, name: str) -> Bytes:
        """Read the bytes of a tensor.

        Raises:
            FormatError: the file has become shorter since its table was read.
        """
        tensor = self.tensors[name]
        with self.path.open("rb") as stream:
            stream.seek(tensor.start)
            data = stream.read(tensor.bytes)
        if len(data) != tensor.bytes:
            raise FormatError(f"{self.path}: tensor {name!r} ends before its {tensor.bytes} bytes")
        return np.frombuffer(data, np.uint8)


def read_container(path: Path) -> Container:
    """Read the metadata and the table of tensors of the GGUF file at ``path``.

    Raises:
        FormatError: the file is missing, damaged, or has tensors of a type that is not read (named).
    """
    try:
        file_bytes = path.stat().st_size
        with path.open("rb") as stream:
            source = _Source(stream, file_bytes)
            counts = _counts(source)
            metadata = _metadata(source, counts[1])
            tensors = _tensors(source, counts[0], metadata)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error.strerror or error}") from None
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from None
    return Container(path, metadata, tensors)


class _Source:
    """A stream of which no more is asked than it has."""

    def __init__(self, stream: BinaryIO, length: int) -> None:
        self.stream, self.length, self.place = stream, length, 0

    @property
    def left(self) -> int:
        return self.length - self.place

    def take(self, count: int, what: str) -> bytes:
        if count > self.left:
            raise FormatError(f"truncated: {what} takes {count} bytes, and {self.left} are left")
        data = self.stream.read(count)
        if len(data) != count:
            raise FormatError(f"truncated in {what}")
        self.place += count
        return data

    def number(self, form: str, what: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form), what))[0]

    def text(self, what: str) -> str:
        try:
            return self.take(self.number("<Q", what), what).decode()
        except UnicodeDecodeError:
            raise FormatError(f"{what} is not UTF-8") from None


def _counts(source: _Source) -> tuple[int, int]:
    if source.left < len(MAGIC) or source.take(len(MAGIC), "the magic number") != MAGIC:
        raise FormatError("no GGUF file: it does not begin with the letters GGUF")
    version = source.number("<I", "the version")
    if version not in VERSIONS:
        known = " and ".join(map(str, VERSIONS))
        raise FormatError(f"GGUF of version {version}; versions {known} of little-endian machines are read")
    # An entry of the table has at least 24 bytes, and one of the metadata 13.
    tensors, values = source.number("<Q", "the number of tensors"), source.number("<Q", "the number of keys")
    if tensors * 24 + values * 13 > source.left:
        raise FormatError(f"truncated: {tensors} tensors and {values} keys do not fit in {source.left} bytes")
    return tensors, values


def _metadata(source: _Source, count: int) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    for _ in range(count):
        key = source.text("a key")
        if key in metadata:
            raise FormatError(f"the key {shown(key)} occurs twice")
        metadata[key] = _value(source, source.number("<I", "a type"), f"key {shown(key)}")
    return metadata


def _value(source: _Source, kind: int, what: str) -> Any:
    if kind != _ARRAY:
        return _reader(kind, what)(source)
    kind, count = source.number("<I", what), source.number("<Q", what)
    read = _reader(kind, what)
    least = 8 if kind == _STRING else struct.calcsize(_SCALARS.get(kind, "<B"))
    if count * least > source.left:
        raise FormatError(f"truncated: {what} has {count} elements, and {source.left} bytes are left")
    if kind in _SCALARS:
        form = _SCALARS[kind]
        return np.frombuffer(source.take(count * least, what), form).tolist()
    return [read(source) for _ in range(count)]


def _reader(kind: int, what: str) -> Callable[[_Source], Any]:
    if kind in _SCALARS:
        return lambda source: source.number(_SCALARS[kind], what)
    if kind == _STRING:
        return lambda source: source.text(what)
    if kind == _BOOL:
        return lambda source: _flag(source, what)
    raise FormatError(f"{what} has type {kind}, which GGUF does not have in this place")


def _flag(source: _Source, what: str) -> bool:
    number: int = source.number("<B", what)
    if number > 1:
        raise FormatError(f"{what} is the truth value {number}; expected 0 or 1")
    return number == 1


def _tensors(source: _Source, count: int, metadata: dict[str, Any]) -> dict[str, StoredTensor]:
    entries: dict[str, tuple[str, tuple[int, ...], int]] = {}
    for _ in range(count):
        name = source.text("the name of a tensor")
        if name in entries or len(name.encode()) > LONGEST_NAME:
            raise FormatError(
                f"tensor {shown(name)}: its name occurs twice, or has over {LONGEST_NAME} bytes"
            )
        entries[name] = _entry(source, f"tensor {shown(name)}")
    alignment = metadata.get("general.alignment", 32)
    if type(alignment) is not int or not 1 <= alignment <= 2**16 or alignment & (alignment - 1):
        raise FormatError(f"general.alignment is {shown(alignment)}; expected a power of two up to 65536")
    start = _up(source.place, alignment)
    end = 0
    tensors: dict[str, StoredTensor] = {}
    for name, (kind, shape, offset) in entries.items():
        size = bytes_of_tensor(kind, shape, f"tensor {shown(name)}")
        if offset != end:
            raise FormatError(f"tensor {shown(name)}: begins at byte {offset} of the data, expected {end}")
        tensors[name] = StoredTensor(kind, shape, start + offset, size)
        end = _up(offset + size, alignment)
    last = max((tensor.start + tensor.bytes for tensor in tensors.values()), default=start)
    if not last <= source.length <= start + end:
        raise FormatError(
            f"truncated, or followed by extra bytes: {source.length} bytes, and its tensors end at {last}"
        )
    return tensors


def _entry(source: _Source, what: str) -> tuple[str, tuple[int, ...], int]:
    dimensions = source.number("<I", what)
    if not 1 <= dimensions <= MOST_DIMENSIONS:
        raise FormatError(f"{what} has {dimensions} dimensions; expected 1 to {MOST_DIMENSIONS}")
    shape = tuple(source.number("<Q", what) for _ in range(dimensions))[::-1]
    if min(shape) < 1 or math.prod(shape) > MOST_ELEMENTS:
        raise FormatError(
            f"{what} has the shape {list(shape)}; expected at least 1 and at most 2^60 elements"
        )
    number = source.number("<I", what)
    if number not in _TYPE_NUMBERS:
        raise FormatError(
            f"{what} has the GGUF type {number}, which is not read; types that are: "
            f"{', '.join(f'{name} ({n})' for n, name in _TYPE_NUMBERS.items())}"
        )
    return _TYPE_NUMBERS[number], shape, source.number("<Q", what)


def bytes_of_tensor(kind: str, shape: tuple[int, ...], what: str) -> int:
    """Count the bytes of a tensor of a type.

    Raises:
        FormatError: its rows are no whole number of blocks.

    >>> bytes_of_tensor("Q1_0", (2, 256), "w")
    72
    """
    if kind in _FLOAT_BYTES:
        return math.prod(shape) * _FLOAT_BYTES[kind]
    block = BLOCK_TYPES[kind]
    if shape[-1] % block.inputs:
        raise FormatError(f"{what}: rows of {shape[-1]} are no whole blocks of {block.inputs} ({kind})")
    return math.prod(shape) // block.inputs * block.bytes


def _up(place: int, alignment: int) -> int:
    return place + -place % alignment
