"""Which tensors a header promises, and the table of tensors that a file has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from proxconnect.errors import FormatError
from proxconnect.format.header import Header

GRAPH = "graph"
SCALE_DTYPES = ("float16", "bfloat16", "float32")
# safetensors' name of each dtype that a packed file may hold.
CODES = {
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
    "int8": "I8",
    "int16": "I16",
    "int32": "I32",
    "int64": "I64",
    "uint8": "U8",
    "bool": "BOOL",
}
_NAMES = {code: name for name, code in CODES.items()}


@dataclass(frozen=True)
class StoredTensor:
    """One row of a file's tensor table."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Bytes that the tensor takes in the file."""
        return math.prod(self.shape) * torch_dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Expected:
    """What the header promises of one tensor: alternatives; no shape for the graph, a line of bytes."""

    dtypes: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]


def torch_dtype(name: str) -> torch.dtype:
    """The torch dtype called ``name``, one of :data:`CODES`."""
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def dtype_name(code: object) -> str | None:
    """The name of safetensors' ``code``; None for one that a packed file does not hold."""
    return _NAMES.get(code) if isinstance(code, str) else None


def stored_dtype(header: Header, name: str) -> str:
    """The dtype of a dense tensor in the file: ``rest`` for float32 parameters of two or more dimensions."""
    tensor = header.dense[name]
    narrowed = tensor.role == "parameter" and tensor.dtype == "float32" and len(tensor.shape) >= 2
    return header.rest if narrowed else tensor.dtype


def expected_tensors(header: Header) -> dict[str, Expected]:
    """Every tensor that a file with this header holds.

    Raises:
        FormatError: two tensors would have the same name.
    """
    tensors: dict[str, Expected] = {}

    def expect(name: str, dtypes: tuple[str, ...], *shapes: tuple[int, ...]) -> None:
        if name in tensors:
            raise FormatError(f"two tensors would be called {name!r}; rename one in the model")
        tensors[name] = Expected(dtypes, shapes)

    for name, weight in header.binary.items():
        expect(f"{name}.bits", ("uint8",), weight.bits_shape)
        expect(f"{name}.scale", SCALE_DTYPES, *weight.rows.scale_shapes)
    for name, tensor in header.dense.items():
        if name in header.binary:
            raise FormatError(f"tensor {name!r} is listed both as binary and as dense")
        dtype = stored_dtype(header, name)
        expect(name, (dtype,), tensor.shape)
        if dtype != tensor.dtype and dtype == "int8":
            expect(f"{name}.dequant", ("float32",), (tensor.shape[0], *(1,) * (len(tensor.shape) - 1)))
    if header.graph is not None:
        expect(GRAPH, ("uint8",))
    return tensors


def check_table(header: Header, table: Mapping[str, StoredTensor]) -> None:
    """Raise :class:`FormatError` unless ``table`` is exactly what ``header`` promises."""
    expected = expected_tensors(header)
    for name in sorted(expected.keys() - table.keys()):
        raise FormatError(f"tensor {name!r} is missing")
    for name in sorted(table.keys() - expected.keys()):
        raise FormatError(f"tensor {name!r} is not in the header")
    for name, wanted in expected.items():
        found = table[name]
        if found.dtype not in wanted.dtypes:
            raise FormatError(f"tensor {name!r}: dtype {found.dtype}, expected {' or '.join(wanted.dtypes)}")
        fits = found.shape in wanted.shapes if wanted.shapes else len(found.shape) == 1
        if not fits:
            shapes = " or ".join(str(list(shape)) for shape in wanted.shapes) or "one dimension"
            raise FormatError(f"tensor {name!r}: shape {list(found.shape)}, expected {shapes}")
