"""The rules for the description of how an image becomes an input, in packed files and in checkpoints."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any

LARGEST_SIDE = 1 << 14
"""The largest height and width of an image, in pixels."""

_CHANNELS = {"RGB": 3, "L": 1}
_KEYS = ("mode", "size", "mean", "std", "resize")
# Pixels lie in [0, 1]: a larger mean or a smaller deviation can only come from a corrupt file.
_LARGEST_NUMBER = 1e6
_SMALLEST_STD = 1e-6


def preprocessing_fault(value: object) -> str | None:
    """Say what is wrong with a preprocessing; None for one that images can be prepared with.

    Args:
        value: a mapping with the fields of :class:`proxconnect.Preprocessing`; anything else has a fault.

    >>> expected = {"mode": "L", "size": [8, 8], "mean": [0.5], "std": [0.25], "resize": "bilinear"}
    >>> preprocessing_fault(expected)
    >>> preprocessing_fault({**expected, "mean": []})
    'preprocessing mean is []; expected a list of 1 finite numbers, each below 1000000'
    """
    if not isinstance(value, Mapping) or set(value) != set(_KEYS):
        return f"preprocessing is {reprlib.repr(value)}; expected a mapping with the keys {', '.join(_KEYS)}"
    channels = _CHANNELS.get(value["mode"]) if isinstance(value["mode"], str) else None
    if channels is None:
        return _fault("mode", value, " or ".join(map(repr, _CHANNELS)))
    if value["resize"] != "bilinear":
        return _fault("resize", value, "'bilinear'")
    size, mean, std = value["size"], value["mean"], value["std"]
    if not (_is_list(size, 2) and all(type(side) is int and 1 <= side <= LARGEST_SIDE for side in size)):
        return _fault("size", value, f"[height, width], each from 1 to {LARGEST_SIDE}")
    if not (_is_list(mean, channels) and all(_is_finite(number) for number in mean)):
        return _fault("mean", value, f"a list of {channels} finite numbers, each below {_LARGEST_NUMBER:.0f}")
    if not (_is_list(std, channels) and all(_is_finite(one) and one >= _SMALLEST_STD for one in std)):
        return _fault("std", value, f"a list of {channels} numbers of at least {_SMALLEST_STD}")
    return None


def _is_list(value: object, length: int) -> bool:
    return isinstance(value, list | tuple) and len(value) == length


def _is_finite(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < _LARGEST_NUMBER


def _fault(key: str, value: Mapping[str, Any], expected: str) -> str:
    return f"preprocessing {key} is {reprlib.repr(value[key])}; expected {expected}"
