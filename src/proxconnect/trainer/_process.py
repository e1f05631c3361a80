"""The number of this process among several training processes."""

from __future__ import annotations

import os


def is_main_process() -> bool:
    """Tell whether this process writes and prints: it is the only one, or the first of several.

    Lightning and torchrun number their processes in the environment.

    >>> is_main_process()
    True
    """
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))) == 0
