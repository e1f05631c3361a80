"""Checks of arguments that several functions of this package take."""

from __future__ import annotations

import math
from typing import Any

from proxconnect.errors import ProxConnectError


def positive(name: str, value: Any) -> float:
    """Return ``value`` as a float.

    Raises:
        ProxConnectError: it is no positive finite number.
    """
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError):
        number = math.nan
    if not 0 < number < math.inf:
        raise ProxConnectError(f"{name} must be a positive finite number, not {value!r}")
    return number
