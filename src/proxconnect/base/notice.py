"""Warnings that point at the user's line."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from types import FrameType

_PACKAGE = str(Path(__file__).parents[1])


def notice(message: str) -> None:
    """Give a ``UserWarning`` that names the line outside of this package from which it was called.

    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     notice("mu did not grow")
    >>> caught[0].category.__name__, str(caught[0].message)
    ('UserWarning', 'mu did not grow')
    """
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and _inside(frame):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)


def _inside(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(_PACKAGE)
