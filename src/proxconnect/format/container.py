"""The safetensors container: reading and checking of its header without its tensors."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxconnect.base.table import Table
from proxconnect.errors import FormatError, shown
from proxconnect.format._json import check_size, strict_json
from proxconnect.format._json import name as checked_name
from proxconnect.format.header import NO_HASH, Header
from proxconnect.format.layout import StoredTensor, check_table, dtype_name

KEY = "proxconnect"
HEADER_LIMIT = 64 * 1024 * 1024
# The header is a JSON string inside safetensors' JSON, so its quotes are escaped.
HASH_PREFIX = rb"\"sha256\":\""


@dataclass(frozen=True)
class Contents:
    """The header of a packed file and its table of tensors, in the order in which they lie in the file."""

    header: Header
    tensors: dict[str, StoredTensor]
    file_bytes: int

    def __str__(self) -> str:
        header = self.header
        lines = [
            f"ProxConnect packed file, version {header.version}, written by proxconnect {header.library}",
            f"method {header.method}, setting {header.setting}, rest {header.rest}",
            f"{self.file_bytes:,} bytes",
        ]
        if header.graph is not None:
            inputs = (f"{i.name} {i.dtype} [{', '.join(map(str, i.shape))}]" for i in header.graph.inputs)
            lines.append(f"inputs: {'; '.join(inputs)}")
        else:
            lines.append("no graph: loads into a model of yours, pc.load(path, model=model)")
        if header.classes is not None:
            lines.append(f"classes: {len(header.classes)}")
        for name, value in (header.metrics or {}).items():
            lines.append(f"{name}: {value:g}")
        rows = ((name, t.dtype, f"{t.bytes:,}", str(list(t.shape))) for name, t in self.tensors.items())
        table = Table(("tensor", "dtype", "bytes", "shape"), rows, numbers=["bytes"])
        return "\n".join([*lines, str(table)])


def read_contents(path: Path) -> Contents:
    """Read the header and the tensor table of the packed file at ``path``.

    The data of the tensors are neither read nor checked.

    Raises:
        FormatError: the file is missing, or this release does not read its header.
    """
    try:
        with path.open("rb") as stream:
            file_bytes = path.stat().st_size
            length = _header_length(stream.read(8), file_bytes)
            return parse_contents(stream.read(length), file_bytes)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error.strerror or error}") from None
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from None


def header_bytes(data: bytes) -> bytes:
    """Cut the JSON header out of the safetensors file ``data``."""
    return data[8 : 8 + _header_length(data[:8], len(data))]


def _header_length(start: bytes, file_bytes: int) -> int:
    length = int.from_bytes(start, "little")
    if len(start) < 8 or length > file_bytes - 8:
        raise FormatError(
            "not a safetensors file, or truncated: it is shorter than the header that it announces"
            if len(start) == 8
            else "not a safetensors file: it is shorter than 8 bytes"
        )
    if length > HEADER_LIMIT:
        raise FormatError(f"header: {length} bytes, more than the {HEADER_LIMIT} that are accepted")
    return length


def parse_contents(text: bytes, file_bytes: int) -> Contents:
    """Parse and check the JSON header of a file of ``file_bytes`` bytes."""
    if not text.startswith(b"{"):
        raise FormatError("not a safetensors file: its header is not JSON")
    fields = strict_json(text, "safetensors header")
    metadata = fields.pop("__metadata__", None)
    if not isinstance(metadata, dict) or not isinstance(metadata.get(KEY), str):
        raise FormatError(
            f"a safetensors file, but not one of ProxConnect: its metadata has no {KEY!r}; "
            "packed files are written by pc.save"
        )
    if len(metadata) > 1:
        raise FormatError(f"safetensors header: unknown metadata {shown(sorted(metadata.keys() - {KEY}))}")
    header = Header.from_json(metadata[KEY])
    tensors = _tensor_table(fields, file_bytes - 8 - len(text))
    check_table(header, tensors)
    if text.count(HASH_PREFIX) != 1:
        raise FormatError("header: the field 'sha256' must occur exactly once, spelt as the format says")
    return Contents(header, tensors, file_bytes)


def _tensor_table(fields: dict[str, Any], data_bytes: int) -> dict[str, StoredTensor]:
    rows: list[tuple[int, int, str, StoredTensor]] = []
    for name, row in fields.items():
        checked_name(name, "safetensors header")
        if not isinstance(row, dict) or row.keys() != {"dtype", "shape", "data_offsets"}:
            raise FormatError(f"tensor {name!r}: its entry must have dtype, shape and data_offsets")
        dtype = dtype_name(row["dtype"])
        if dtype is None:
            raise FormatError(f"tensor {name!r}: a packed file holds no {shown(row['dtype'])}")
        shape, offsets = row["shape"], row["data_offsets"]
        if not (_naturals(shape) and _naturals(offsets) and len(offsets) == 2):
            raise FormatError(f"tensor {name!r}: shape and data_offsets must be lists of whole numbers")
        check_size(shape, f"tensor {name!r}")
        tensor = StoredTensor(dtype, tuple(shape))
        if offsets[1] - offsets[0] != tensor.bytes:
            raise FormatError(f"tensor {name!r}: {tensor.bytes} bytes by its shape, but offsets {offsets}")
        rows.append((offsets[0], offsets[1], name, tensor))
    rows.sort(key=lambda row: row[:2])
    end = 0
    for begin, stop, name, _ in rows:
        if begin != end:
            raise FormatError(f"tensor {name!r}: begins at byte {begin}, expected {end}")
        end = stop
    if end != data_bytes:
        raise FormatError(
            f"truncated or followed by extra bytes: {data_bytes} bytes of tensors, expected {end}"
        )
    return {name: tensor for _, _, name, tensor in rows}


def _naturals(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 2**63 for n in value)


def hash_span(data: bytes) -> slice:
    """Find the 64 digits of ``sha256`` in the file."""
    start = data.index(HASH_PREFIX, 8) + len(HASH_PREFIX)
    return slice(start, start + len(NO_HASH))


def digest(data: bytes) -> str:
    """Compute the SHA-256 of the whole file with zeros in place of the digits of ``sha256``."""
    span = hash_span(data)
    state = hashlib.sha256(memoryview(data)[: span.start])
    state.update(NO_HASH.encode())
    state.update(memoryview(data)[span.stop :])
    return state.hexdigest()
