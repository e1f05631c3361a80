"""Errors and warnings that ProxConnect raises on purpose."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LONGEST_VALUE = 60  # characters of a message that show one value
_MOST_NAMES = 40  # that a message lists


class ProxConnectError(ValueError):
    """Base of every error that ProxConnect raises on purpose.

    The message names the offending value, what was expected and what to do.

    >>> import proxconnect as pc
    >>> try:
    ...     pc.method("bnn+++")
    ... except pc.ProxConnectError as error:
    ...     print("refused")
    refused
    """


class DataError(ProxConnectError):
    """A data set is missing, corrupt or not in the expected layout."""


class MissingPackageError(ProxConnectError):
    """A package is missing that the base installation does not bring; the message says how to install it."""


class FormatError(ProxConnectError):
    """A packed file is damaged, unsafe or of another version of the format."""


class ExportError(ProxConnectError):
    """A model cannot be captured as a graph of known operators."""


class WriteError(ProxConnectError):
    """A file or folder cannot be written where it was asked for."""


class TrainingError(ProxConnectError):
    """Training cannot start, continue or resume."""


def unknown_name(kind: str, name: object, known: Iterable[str]) -> str:
    """Write the message for a name that is not in ``known``: near matches first, then the names.

    >>> unknown_name("method", "bnn+++", ["bc", "bnn+", "bnn++"])
    "unknown method 'bnn+++'; did you mean 'bnn++' or 'bnn+'? Known: bc, bnn+, bnn++"
    >>> unknown_name("number", "none", map(str, range(100))).endswith("38, 39, and 60 more")
    True
    """
    names = list(known)
    near = difflib.get_close_matches(str(name), names, n=2)
    hint = f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else "."
    listed = names[:_MOST_NAMES] + [f"and {len(names) - _MOST_NAMES} more"] * (len(names) > _MOST_NAMES)
    return f"unknown {kind} {name!r}{hint} Known: {', '.join(listed)}"


def shown(value: object) -> str:
    """Write a value for a message: escaped, and shortened if it is long.

    >>> shown("a" * 1000)
    "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa..."
    """
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."


def first_line(error: BaseException) -> str:
    r"""Return the first line of what an error says, or its kind if it says nothing.

    >>> first_line(ValueError("too small\nby far")), first_line(ValueError())
    ('too small', 'ValueError')
    """
    return next(iter(str(error).splitlines()), "") or type(error).__name__
