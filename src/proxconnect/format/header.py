"""The header of a packed file as plain data and as strict JSON."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from proxconnect.base.preprocessing import preprocessing_fault
from proxconnect.base.rows import Rows
from proxconnect.errors import FormatError, shown
from proxconnect.format._compressed import compressed, inflated
from proxconnect.format._json import (
    Check,
    build,
    check_size,
    list_of,
    name,
    natural,
    number,
    one_of,
    optional,
    positive,
    record,
    refusal,
    shape,
    strict_json,
    string,
    table,
)
from proxconnect.format.bits import packed_width

FORMAT_VERSION = 2
READ_VERSIONS = (1, 2)
REST = ("float32", "float16", "int8")
ROLES = ("parameter", "buffer", "constant")
DTYPES = ("float16", "bfloat16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")
ACCUMULATORS = ("32", *(f"{what} {bits}" for what in ("wrap", "saturate") for bits in range(4, 17)))
GRAPH_LIMIT = 16 * 1024 * 1024
NO_HASH = "0" * 64


@dataclass(frozen=True)
class BinaryTensor:
    """A weight of levels {-1, 1} (``bits`` 1) or {-1, 0, 1} (``bits`` 2) times a scale.

    ``group`` inputs of an output channel share a scale. Without ``group``, all inputs of a channel, or all
    weights, share one. ``transposed`` is the number of groups of a transposed convolution, or 1 for a matrix
    that inputs are multiplied with from the left: see :class:`proxconnect.base.rows.Rows`.
    ``accumulator``, one of :data:`ACCUMULATORS`, is there for layers with binary input: ``"32"``, or the
    treatment of a sum that does not fit and the number of bits.
    """

    shape: tuple[int, ...]
    bits: int = 1
    group: int | None = None
    transposed: int | None = None
    accumulator: str | None = None

    @property
    def rows(self) -> Rows:
        """The rows of the weight, one for each output channel, and the groups of its scales."""
        return Rows(self.shape, self.group, self.transposed)

    @property
    def bits_shape(self) -> tuple[int, ...]:
        """The shape of the packed bits: rows of bytes, in two planes if ``bits`` is 2."""
        out, *inputs = self.rows.row_shape
        plane = (out, packed_width(math.prod(inputs)))
        return plane if self.bits == 1 else (self.bits, *plane)


@dataclass(frozen=True)
class DenseTensor:
    """A tensor that is not binary: its ``shape``, its logical ``dtype`` and its ``role`` in the network."""

    shape: tuple[int, ...]
    dtype: str
    role: str


@dataclass(frozen=True)
class InputSpec:
    """One input of the network; its sizes are fixed numbers, or names of sizes that vary.

    An input with ``keyword`` is passed by name only.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    keyword: bool = False


@dataclass(frozen=True)
class SizeRange:
    """The values of a size that varies, from ``least`` to ``most`` in steps; None as ``most`` has no end.

    >>> 36 in SizeRange(32, 512, 4), 37 in SizeRange(32, 512, 4), 1000 in SizeRange(32)
    (True, False, True)
    """

    least: int = 1
    most: int | None = None
    step: int = 1

    def __contains__(self, size: int) -> bool:
        return self.least <= size <= (size if self.most is None else self.most) and (
            (size - self.least) % self.step == 0
        )

    def __str__(self) -> str:
        end = "" if self.most is None else f" to {self.most}"
        return f"from {self.least}{end}" + ("" if self.step == 1 else f" in steps of {self.step}")


@dataclass(frozen=True)
class GraphInfo:
    """The size of the graph's JSON before compression, the inputs of the network and the named sizes."""

    raw_bytes: int
    inputs: tuple[InputSpec, ...]
    sizes: Mapping[str, SizeRange] = field(default_factory=dict)


@dataclass(frozen=True)
class Header:
    """The description of a packed file; ``docs/format.md`` specifies each field."""

    library: str
    method: str
    setting: str
    rest: str = "float32"
    binary: Mapping[str, BinaryTensor] = field(default_factory=dict)
    dense: Mapping[str, DenseTensor] = field(default_factory=dict)
    graph: GraphInfo | None = None
    classes: tuple[str, ...] | None = None
    preprocessing: Mapping[str, Any] | None = None
    metrics: Mapping[str, float] | None = None
    sha256: str = NO_HASH
    version: int = FORMAT_VERSION

    def to_json(self) -> str:
        """Write canonical JSON, as the file holds it: sorted keys, no spaces, ASCII only.

        Raises:
            FormatError: ``preprocessing``, ``classes`` or ``metrics`` hold values that JSON has not.
        """
        fields = asdict(self)
        for entry in fields["binary"].values():
            _drop(entry, _BINARY_OPTIONS, (None,))
        for entry in [fields["graph"], *fields["graph"]["inputs"]] if fields["graph"] else ():
            _drop(entry, _GRAPH_OPTIONS, ({}, False))
        if self.version == 1:
            return _canonical(fields)
        whole = {key: fields.pop(key) for key in _BESIDE}
        raw = _canonical(fields).encode()
        text = base64.b64encode(compressed(raw)).decode()
        return _canonical(whole | {"fields": text, "raw_bytes": len(raw)})

    @classmethod
    def from_json(cls, text: str) -> Header:
        """Parse and check a header; :class:`FormatError` names the field that is wrong.

        >>> header = Header(library="1.0", method="bc", setting="bw")
        >>> Header.from_json(header.to_json()) == header
        True
        """
        fields = strict_json(text, "header")
        if not isinstance(fields, dict):
            raise FormatError("header: expected a JSON object")
        version = fields.get("version")
        if type(version) is not int or version not in READ_VERSIONS:
            known = " and ".join(map(str, READ_VERSIONS))
            raise FormatError(
                f"header: format version {shown(version)} is unknown; this release reads {known}: "
                "update proxconnect, or pack the model again"
            )
        if version > 1:
            fields = _unfolded(fields)
        header: Header = build(cls, fields, "header", _HEADER)
        return header


def binary_fields(tensor: BinaryTensor) -> dict[str, Any]:
    """Describe a binary weight in plain JSON, as a header does; fields that say nothing are left out.

    >>> binary_fields(BinaryTensor((4, 64), group=32))
    {'shape': (4, 64), 'bits': 1, 'group': 32}
    """
    fields = asdict(tensor)
    _drop(fields, _BINARY_OPTIONS, (None,))
    return fields


def _canonical(fields: Mapping[str, Any]) -> str:
    try:
        return json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise FormatError(f"preprocessing, classes and metrics must be plain JSON: {error}") from None


def _unfolded(outer: Mapping[str, Any]) -> dict[str, Any]:
    """Decompress the fields of a header of version 2."""
    folded: _Folded = build(_Folded, outer, "header", _FOLDED)
    try:
        data = base64.b64decode(folded.fields, validate=True)
    except (ValueError, binascii.Error) as error:
        raise FormatError(f"header.fields: no base64: {error}") from None
    raw = inflated(data, folded.raw_bytes, "header.fields")
    fields = strict_json(raw, "header.fields")
    if not isinstance(fields, dict) or not fields.keys().isdisjoint(_BESIDE):
        raise FormatError(f"header.fields: expected a JSON object without {' and '.join(_BESIDE)}")
    return {**fields, "sha256": folded.sha256, "version": folded.version}


def _drop(fields: dict[str, Any], options: Sequence[str], values: Sequence[Any]) -> None:
    """Drop the optional fields that have one of ``values``, in place."""
    for key in fields.keys() & set(options):
        if fields[key] in values:
            del fields[key]


def _graph(value: Any, where: str) -> GraphInfo:
    info: GraphInfo = _GRAPH(value, where)
    names = [spec.name for spec in info.inputs]
    if not names:
        raise refusal(f"{where}.inputs", "at least one input", [])
    for spec in info.inputs:
        if spec.shape[:1] != ("batch",):
            raise refusal(f"{where}.inputs", "'batch' as dimension 0 of every input", list(spec.shape))
    if len(set(names)) < len(names):
        raise refusal(f"{where}.inputs", "names that differ", names)
    named = {size for spec in info.inputs for size in spec.shape[1:] if isinstance(size, str)} - {"batch"}
    for size, sizes in info.sizes.items():
        if size not in named:
            raise refusal(f"{where}.sizes", "sizes that inputs name, but not the batch", size)
        if sizes.most is not None and sizes.most < sizes.least:
            raise refusal(f"{where}.sizes[{size!r}].most", f"at least {sizes.least}", sizes.most)
    return info


def binary_tensor(value: Any, where: str) -> BinaryTensor:
    """Check that plain JSON describes a binary weight, and return it; see :func:`binary_fields`.

    >>> binary_tensor({"shape": [4, 64], "bits": 1, "group": 32}, "weight").bits_shape
    (4, 8)
    """
    tensor: BinaryTensor = _BINARY(value, where)
    groups = tensor.transposed
    if groups is not None and (tensor.shape[0] % groups or (len(tensor.shape) == 2 and groups > 1)):
        raise refusal(f"{where}.transposed", "a divisor of the first of three or more sizes, or 1", groups)
    return tensor


def _input_shape(value: Any, where: str) -> tuple[int | str, ...]:
    sizes: tuple[int | str, ...] = list_of(_size)(value, where)
    check_size([size if isinstance(size, int) else 1 for size in sizes], where)
    return sizes


def _size(value: Any, where: str) -> int | str:
    if isinstance(value, str) and value.isidentifier():
        return name(value, where)
    return natural(value, where)


def _binary_shape(value: Any, where: str) -> tuple[int, ...]:
    sizes = shape(value, where)
    if len(sizes) < 2 or 0 in sizes:
        raise refusal(where, "two or more sizes, none of them 0", value)
    return sizes


def _preprocessing(value: Any, where: str) -> Mapping[str, Any]:
    fault = preprocessing_fault(value)
    if fault is not None:
        raise FormatError(f"header: {fault}")
    return value  # type: ignore[no-any-return]


def _hash(value: Any, where: str) -> str:
    if not (isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")):
        raise refusal(where, "64 lower-case hexadecimal digits", value)
    return value


def _raw_bytes(value: Any, where: str) -> int:
    if natural(value, where) > GRAPH_LIMIT:
        raise refusal(where, f"at most {GRAPH_LIMIT} bytes", value)
    return value  # type: ignore[no-any-return]


_BINARY_OPTIONS = ("group", "transposed", "accumulator")
_BINARY = record(
    BinaryTensor,
    options=_BINARY_OPTIONS,
    shape=_binary_shape,
    bits=one_of((1, 2)),
    group=positive,
    transposed=positive,
    accumulator=one_of(ACCUMULATORS),
)
_GRAPH_OPTIONS = ("sizes", "keyword")
_INPUT = record(
    InputSpec,
    options=("keyword",),
    name=name,
    dtype=one_of(DTYPES),
    shape=_input_shape,
    keyword=one_of((True, False)),
)
_SIZES = record(SizeRange, least=positive, most=optional(positive), step=positive)
_GRAPH = record(
    GraphInfo, options=("sizes",), raw_bytes=_raw_bytes, inputs=list_of(_INPUT), sizes=table(_SIZES)
)
# The fields that stand beside the compressed ones.
_BESIDE = ("sha256", "version")


@dataclass(frozen=True)
class _Folded:
    """A header of version 2 as it is stored: all but two of its fields are compressed."""

    fields: str
    raw_bytes: int
    sha256: str
    version: int


_FOLDED: dict[str, Check] = {"fields": string, "raw_bytes": _raw_bytes, "sha256": _hash, "version": natural}
_HEADER: dict[str, Check] = {
    "library": string,
    "method": string,
    "setting": string,
    "rest": one_of(REST),
    "binary": table(binary_tensor),
    "dense": table(record(DenseTensor, shape=shape, dtype=one_of(DTYPES), role=one_of(ROLES))),
    "graph": optional(_graph),
    "classes": optional(list_of(string)),
    "preprocessing": optional(_preprocessing),
    "metrics": optional(table(number)),
    "sha256": _hash,
    "version": natural,
}
