"""Which of several training processes this one is."""

from __future__ import annotations

import os


def is_main_process() -> bool:
    """Whether this process is the one that writes and prints: the only one, or the first of several.

    Lightning and torchrun number their processes in the environment.
    """
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))) == 0
