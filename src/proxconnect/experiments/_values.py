"""Reading of the values in a grid's file, each with the refusal of what it cannot be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxconnect.errors import TrainingError, unknown_name

FACTORS = ("model", "method", "setting", "seed")
"""The keys of a table of which the cells are the product."""


def listed(values: Mapping[str, Any], key: str, where: str) -> list[Any]:
    """Read a value or a list of values; a seed that is not given is 0."""
    if key not in values and key != "seed":
        raise TrainingError(f"{where} has no {key}")
    return as_list(values.get(key, 0), key, where)


def as_list(value: Any, key: str, where: str) -> list[Any]:
    """Make a list of ``value`` unless it is one; refuse an empty list."""
    found = value if isinstance(value, list) else [value]
    if not found:
        raise TrainingError(f"{where}: {key} is an empty list")
    return found


def text_of(values: Mapping[str, Any], key: str, where: str, default: str | None = None) -> str:
    """Read a text, which may be missing only if there is a default."""
    value = values.get(key, default)
    if not isinstance(value, str):
        raise TrainingError(f"{where}: {key} is {value!r}; expected a text")
    return value


def options_of(values: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    """Read options of ``proxconnect train``; refuse those that the grid itself sets."""
    value = values.get(key, {})
    if not isinstance(value, dict):
        raise TrainingError(f"{where}: {key} is {value!r}; expected a table of options")
    for owned in ("data", "init", *FACTORS):
        if owned in value:
            raise TrainingError(f"{where}: {owned} is no option here; the grid itself says what it is")
    return value


def check_keys(values: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    """Refuse a key that is not in ``known``."""
    for key in values:
        if key not in known:
            raise TrainingError(f"{where}: {unknown_name('key', key, known)}")
