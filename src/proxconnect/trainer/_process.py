"""The number of this process among several training processes, and what torchrun says of them."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from proxconnect.errors import TrainingError

if TYPE_CHECKING:
    from proxconnect.trainer.config import TrainConfig


SHARDED = "fsdp2"
"""The strategy that divides weights, gradients and optimizer among the processes."""


def is_main_process() -> bool:
    """Tell whether this process writes and prints: it is the only one, or the first of several.

    Lightning and torchrun number their processes in the environment.

    >>> is_main_process()
    True
    """
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))) == 0


def machines() -> int:
    """Return the number of machines on which torchrun started this run; 1 without torchrun."""
    if not _under_torchrun():
        return 1
    return int(os.environ["WORLD_SIZE"]) // int(os.environ["LOCAL_WORLD_SIZE"])


def with_processes(config: TrainConfig, given: int | None) -> TrainConfig:
    """Let the processes that torchrun started be the devices of a run.

    Args:
        config: a configuration; without torchrun it stays as it is.
        given: the option ``devices`` of the user, if it was given.

    Raises:
        TrainingError: ``given`` is another number.
    """
    if not _under_torchrun():
        return config
    started = int(os.environ["WORLD_SIZE"])
    if given not in (None, 1, started):
        raise TrainingError(f"torchrun started {started} processes, and --devices is {given}; leave it out")
    return replace(config, devices=started)


def is_restarted() -> bool:
    """Tell whether torchrun started these processes anew, after one of an earlier start failed."""
    return _under_torchrun() and int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def launch_name() -> str | None:
    """Return the name by which torchrun knows a start and its restarts, on all machines; None if it has none.

    A machine that joins counts no restarts, so it has the name to go by.
    """
    name = os.environ.get("TORCHELASTIC_RUN_ID", "none")
    return None if name == "none" else name


def _under_torchrun() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ
