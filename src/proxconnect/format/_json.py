"""Strict JSON, and checks of its values whose errors name the place in the JSON."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from proxconnect.errors import FormatError, shown

MOST_NESTED = 256
MOST_DIMENSIONS = 64
MOST_ELEMENTS = 2**60  # of 8 bytes each: sizes and strides in bytes then fit in 63 bits
LONGEST_NAME = 1000
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def strict_json(text: str | bytes, where: str) -> Any:
    """Parse JSON in UTF-8; refuse duplicate keys, NaN, infinities, lone surrogates and excessive nesting.

    Raises:
        FormatError: the text is not such JSON; the message begins with ``where``.

    >>> strict_json('{"a": [1, 2.5]}', "header")
    {'a': [1, 2.5]}
    """
    try:
        # json.loads would guess another encoding of bytes, and skip a byte-order mark.
        value = json.loads(text.decode() if isinstance(text, bytes) else text, object_pairs_hook=_unique)
        if _is_nested_deeper(value, MOST_NESTED):
            raise ValueError(f"nested more than {MOST_NESTED} deep")
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeDecodeError:
        raise FormatError(f"{where}: not UTF-8") from None
    except (ValueError, RecursionError) as error:
        reason = f"nested more than {MOST_NESTED} deep" if isinstance(error, RecursionError) else str(error)
        raise FormatError(f"{where}: not valid JSON: {reason}") from None
    return value


def _is_nested_deeper(value: Any, depth: int) -> bool:
    """Tell whether there are more than ``depth`` lists and objects inside of each other."""
    level = [value]
    for _ in range(depth + 1):
        inside = [item for item in level if isinstance(item, (list, dict))]
        level = [item for one in inside for item in (one.values() if isinstance(one, dict) else one)]
        if not inside:
            return False
    return True


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key occurs twice in one object")
    return fields


# A check returns the value as plain data, or raises FormatError with the place of the value.
Check = Callable[[Any, str], Any]


def refusal(where: str, expected: str, value: object) -> FormatError:
    """Make the error for a value at the place ``where`` that is not as ``expected``."""
    return FormatError(f"{where}: expected {expected}, found {shown(value)}")


def build(
    kind: type[Any], fields: Any, where: str, checks: Mapping[str, Check], options: Sequence[str] = ()
) -> Any:
    """Make a ``kind`` from an object with the fields ``checks``; the fields ``options`` may be missing."""
    if not isinstance(fields, dict):
        raise refusal(where, "an object", fields)
    for key in fields.keys() - checks.keys():
        raise FormatError(f"{where}: field {shown(key)} is unknown")
    for key in checks.keys() - fields.keys() - set(options):
        raise FormatError(f"{where}: field {key!r} is missing")
    return kind(
        **{key: check(fields[key], f"{where}.{key}") for key, check in checks.items() if key in fields}
    )


def string(value: Any, where: str) -> str:
    """Check that a value is a string."""
    if not isinstance(value, str):
        raise refusal(where, "a string", value)
    return value


def name(value: Any, where: str) -> str:
    """Check that a value can be a name: 1 to 1,000 characters, none of them a control character."""
    text = string(value, where)
    if not 0 < len(text) <= LONGEST_NAME or _CONTROL.search(text):
        raise refusal(where, f"a name of 1 to {LONGEST_NAME} characters, no control characters", text)
    return text


def natural(value: Any, where: str) -> int:
    """Check that a value is a whole number from 0 to 2^63 - 1."""
    if type(value) is not int or not 0 <= value < 2**63:
        raise refusal(where, "a whole number from 0 to 2^63 - 1", value)
    return value


def one_of(choices: tuple[Any, ...]) -> Check:
    """Make a check that a value is one of ``choices``, type included."""

    def check(value: Any, where: str) -> Any:
        if not any(type(value) is type(choice) and value == choice for choice in choices):
            raise refusal(where, f"one of {', '.join(map(repr, choices))}", value)
        return value

    return check


def list_of(item: Check) -> Check:
    """Make a check that a value is a list whose entries pass ``item``; the check returns a tuple."""

    def check(value: Any, where: str) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise refusal(where, "a list", value)
        return tuple(item(entry, f"{where}[{i}]") for i, entry in enumerate(value))

    return check


def table(item: Check) -> Check:
    """Make a check that a value is an object whose keys are names and whose values pass ``item``."""

    def check(value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise refusal(where, "an object", value)
        return {name(key, where): item(entry, f"{where}[{key!r}]") for key, entry in value.items()}

    return check


def optional(item: Check) -> Check:
    """Make a check that a value is null or passes ``item``."""
    return lambda value, where: None if value is None else item(value, where)


def record(kind: type[Any], options: Sequence[str] = (), **checks: Check) -> Check:
    """Make a check that a value is an object with the fields ``checks``; the check returns a ``kind``.

    The fields ``options`` may be missing.
    """
    return lambda value, where: build(kind, value, where, checks, options)


def positive(value: Any, where: str) -> int:
    """Check that a value is a whole number of at least 1."""
    if natural(value, where) == 0:
        raise refusal(where, "at least 1", value)
    return value  # type: ignore[no-any-return]


def number(value: Any, where: str) -> float:
    """Check that a value is a number that a float64 holds: finite, if rounded."""
    if type(value) not in (int, float) or not abs(value) <= sys.float_info.max:
        raise refusal(where, "a finite number of at most 1.8e308 in size", value)
    return value  # type: ignore[no-any-return]


def shape(value: Any, where: str) -> tuple[int, ...]:
    """Check that a value is a shape: at most 64 sizes whose product, zeros left out, is below 2^60."""
    sizes: tuple[int, ...] = list_of(natural)(value, where)
    check_size(sizes, where)
    return sizes


def check_size(sizes: Sequence[int], where: str) -> None:
    """Refuse a shape that tensors cannot have: too many dimensions, or strides that overflow."""
    if len(sizes) > MOST_DIMENSIONS:
        raise FormatError(f"{where}: {len(sizes)} dimensions, more than the {MOST_DIMENSIONS} there may be")
    elements = 1
    for size in sizes:
        elements *= size or 1
        if elements >= MOST_ELEMENTS:
            raise refusal(where, "sizes whose product is below 2^60, zeros left out", list(sizes))
