"""The tensors that a header announces, and the table of tensors that a file has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from proxconnect.errors import FormatError
from proxconnect.format.header import Header

GRAPH = "graph"
SCALE_DTYPES = ("float16", "bfloat16", "float32")
# The dtypes that a packed file may hold, with their names in safetensors.
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
        """The number of bytes of the tensor in the file."""
        return math.prod(self.shape) * torch_dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Expected:
    """The dtypes and shapes that a header allows for one tensor; no shape stands for any row of bytes."""

    dtypes: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]


def torch_dtype(name: str) -> torch.dtype:
    """Return the torch dtype of the name ``name``, one of :data:`CODES`.

    >>> torch_dtype("int8")
    torch.int8
    """
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def dtype_name(code: object) -> str | None:
    """Return the name of the dtype with safetensors' ``code``; None if a packed file does not hold it."""
    return _NAMES.get(code) if isinstance(code, str) else None


def stored_dtypes(header: Header, name: str) -> tuple[str, ...]:
    """Return the dtypes that a dense tensor may have in the file, the first one preferred.

    Float32 parameters of two or more dimensions follow ``rest``. The others, vectors, are float16 beside
    those that are not float32, if float16 holds their numbers; version 1 leaves them as they are.

    >>> from proxconnect.format import DenseTensor
    >>> dense = {n: DenseTensor((2, 3)[:n], "float32", "parameter") for n in (1, 2)}
    >>> header = Header("1.0", "fp", "fp", rest="int8", dense={"bias": dense[1], "weight": dense[2]})
    >>> stored_dtypes(header, "weight"), stored_dtypes(header, "bias")
    (('int8',), ('float16', 'float32'))
    """
    tensor = header.dense[name]
    if tensor.role != "parameter" or tensor.dtype != "float32" or header.rest == "float32":
        return (tensor.dtype,)
    if len(tensor.shape) >= 2:
        return (header.rest,)
    return (tensor.dtype,) if header.version == 1 else ("float16", "float32")


def expected_tensors(header: Header) -> dict[str, Expected]:
    """List every tensor that a file with this header holds.

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
        dtypes = stored_dtypes(header, name)
        expect(name, dtypes, tensor.shape)
        if tensor.dtype == "float32" and dtypes == ("int8",):
            expect(f"{name}.dequant", ("float32",), (tensor.shape[0], *(1,) * (len(tensor.shape) - 1)))
    if header.graph is not None:
        expect(GRAPH, ("uint8",))
    return tensors


def check_table(header: Header, table: Mapping[str, StoredTensor]) -> None:
    """Refuse a ``table`` that does not have exactly the tensors that ``header`` announces.

    Raises:
        FormatError: a tensor is missing, is unknown, or has another dtype or shape.
    """
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
