"""The header of a packed file: what it holds, as plain data, and its strict JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from proxconnect.errors import FormatError

FORMAT_VERSION = 1
REST = ("float32", "float16", "int8")
ROLES = ("parameter", "buffer", "constant")
DTYPES = ("float16", "bfloat16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")
GRAPH_LIMIT = 16 * 1024 * 1024
NO_HASH = "0" * 64


@dataclass(frozen=True)
class BinaryTensor:
    """A weight of ``bits`` bits per element and ``shape``, output channels first."""

    shape: tuple[int, ...]
    bits: int = 1


@dataclass(frozen=True)
class DenseTensor:
    """A tensor that is not binary: logical ``dtype``, ``shape``, and its ``role`` in the network."""

    shape: tuple[int, ...]
    dtype: str
    role: str


@dataclass(frozen=True)
class InputSpec:
    """One input of the network: sizes are fixed numbers, or names of sizes that vary."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class GraphInfo:
    """The size of the graph's JSON before compression, and the network's inputs."""

    raw_bytes: int
    inputs: tuple[InputSpec, ...]


@dataclass(frozen=True)
class Header:
    """Everything a packed file says about itself; ``docs/format.md`` specifies each field."""

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
        """Canonical JSON: sorted keys, no spaces, ASCII only.

        Raises:
            FormatError: ``preprocessing``, ``classes`` or ``metrics`` hold what JSON cannot.
        """
        try:
            return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise FormatError(f"preprocessing, classes and metrics must be plain JSON: {error}") from None

    @classmethod
    def from_json(cls, text: str) -> Header:
        """Parse and check; :class:`FormatError` names the field that is wrong.

        >>> header = Header(library="1.0", method="bc", setting="bw")
        >>> Header.from_json(header.to_json()) == header
        True
        """
        fields = strict_json(text, "header")
        if not isinstance(fields, dict):
            raise FormatError("header: expected a JSON object")
        version = fields.get("version")
        if type(version) is not int or version != FORMAT_VERSION:
            raise FormatError(
                f"header: format version {version!r} is unknown; this release reads {FORMAT_VERSION}: "
                "update proxconnect, or pack the model again"
            )
        header: Header = _build(cls, fields, "header", _HEADER)
        return header


def strict_json(text: str | bytes, where: str) -> Any:
    """Parse JSON; duplicate keys, NaN, infinities, lone surrogates and excessive nesting are refused."""
    try:
        value = json.loads(text, object_pairs_hook=_unique)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise FormatError(f"{where}: not valid JSON: {reason}") from None
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key occurs twice in one object")
    return fields


Check = Callable[[Any, str], Any]


def _refuse(where: str, expected: str, value: object) -> FormatError:
    shown = repr(value)
    return FormatError(
        f"{where}: expected {expected}, found {shown if len(shown) <= 60 else shown[:57] + '...'}"
    )


def _build(kind: type[Any], fields: Any, where: str, checks: Mapping[str, Check]) -> Any:
    if not isinstance(fields, dict):
        raise _refuse(where, "an object", fields)
    for key in fields.keys() ^ checks.keys():
        raise FormatError(f"{where}: field {key!r} is {'unknown' if key in fields else 'missing'}")
    return kind(**{key: check(fields[key], f"{where}.{key}") for key, check in checks.items()})


def _string(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise _refuse(where, "a string", value)
    return value


def _natural(value: Any, where: str) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise _refuse(where, "a whole number from 0 to 2^63 - 1", value)
    return value


def _one_of(choices: tuple[Any, ...]) -> Check:
    def check(value: Any, where: str) -> Any:
        if not any(type(value) is type(choice) and value == choice for choice in choices):
            raise _refuse(where, f"one of {', '.join(map(repr, choices))}", value)
        return value

    return check


def _list(item: Check) -> Check:
    def check(value: Any, where: str) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise _refuse(where, "a list", value)
        return tuple(item(entry, f"{where}[{i}]") for i, entry in enumerate(value))

    return check


def _table(item: Check) -> Check:
    def check(value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _refuse(where, "an object", value)
        return {key: item(entry, f"{where}[{key!r}]") for key, entry in value.items()}

    return check


def _optional(item: Check) -> Check:
    return lambda value, where: None if value is None else item(value, where)


def _record(kind: type[Any], **checks: Check) -> Check:
    return lambda value, where: _build(kind, value, where, checks)


def _number(value: Any, where: str) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise _refuse(where, "a finite number", value)
    return value  # type: ignore[no-any-return]


def _size(value: Any, where: str) -> int | str:
    if isinstance(value, str) and value.isidentifier():
        return value
    return _natural(value, where)


def _binary_shape(value: Any, where: str) -> tuple[int, ...]:
    shape: tuple[int, ...] = _list(_natural)(value, where)
    if len(shape) < 2 or 0 in shape:
        raise _refuse(where, "two or more sizes, none of them 0", value)
    return shape


def _hash(value: Any, where: str) -> str:
    if not (isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")):
        raise _refuse(where, "64 lower-case hexadecimal digits", value)
    return value


def _raw_bytes(value: Any, where: str) -> int:
    if _natural(value, where) > GRAPH_LIMIT:
        raise _refuse(where, f"at most {GRAPH_LIMIT} bytes", value)
    return value  # type: ignore[no-any-return]


_INPUT = _record(InputSpec, name=_string, dtype=_one_of(DTYPES), shape=_list(_size))
_HEADER: dict[str, Check] = {
    "library": _string,
    "method": _string,
    "setting": _string,
    "rest": _one_of(REST),
    "binary": _table(_record(BinaryTensor, shape=_binary_shape, bits=_one_of((1,)))),
    "dense": _table(_record(DenseTensor, shape=_list(_natural), dtype=_one_of(DTYPES), role=_one_of(ROLES))),
    "graph": _optional(_record(GraphInfo, raw_bytes=_raw_bytes, inputs=_list(_INPUT))),
    "classes": _optional(_list(_string)),
    "preprocessing": _optional(_table(lambda value, where: value)),
    "metrics": _optional(_table(_number)),
    "sha256": _hash,
    "version": _natural,
}
