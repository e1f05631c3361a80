"""Checks of the facts about a model that a packed file carries: classes, preprocessing and metrics."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, NamedTuple

from proxconnect.data import Preprocessing, preprocessing_values
from proxconnect.errors import ProxConnectError


class Facts(NamedTuple):
    """The classes, preprocessing and metrics of a packed file, as plain values."""

    classes: tuple[str, ...] | None
    preprocessing: Mapping[str, Any] | None
    metrics: Mapping[str, float] | None


def checked_facts(
    classes: Sequence[str] | None,
    preprocessing: Preprocessing | Mapping[str, Any] | None,
    metrics: Mapping[str, float] | None,
) -> Facts:
    """Return the arguments of :func:`proxconnect.save` as plain values.

    Raises:
        ProxConnectError: a value could not be used later; the message names it.
    """
    return Facts(
        None if classes is None else _names(classes),
        None if preprocessing is None else dict(preprocessing_values(preprocessing)),
        None if metrics is None else _numbers(metrics),
    )


def _names(classes: Sequence[str]) -> tuple[str, ...]:
    names = classes if isinstance(classes, Sequence) and not isinstance(classes, str) else ()
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ProxConnectError(
            f"classes are {reprlib.repr(classes)}; expected a name for each class, in order of the outputs"
        )
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise ProxConnectError(f"classes has {twice[0]!r} twice; each class needs a name of its own")
    return tuple(names)


def _numbers(metrics: Mapping[str, float]) -> dict[str, float]:
    if not isinstance(metrics, Mapping):
        raise ProxConnectError(
            f"metrics is {reprlib.repr(metrics)}; expected numbers by name, such as {{'accuracy': 0.9}}"
        )
    values: Mapping[Any, Any] = metrics
    for name, value in values.items():
        if not isinstance(name, str) or not _is_number(value):
            raise ProxConnectError(f"metric {name!r} is {reprlib.repr(value)}; expected a finite number")
    # NumPy's numbers are no JSON.
    return {name: value if isinstance(value, int) else float(value) for name, value in values.items()}


def _is_number(value: Any) -> bool:
    """Tell whether a value is a number that a float64 holds."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
