"""The message after Ctrl-C of a run."""

from __future__ import annotations

import shlex
from pathlib import Path

from proxconnect.errors import TrainingError
from proxconnect.trainer.checkpoint import read_checkpoint
from proxconnect.trainer.folder import CHECKPOINT_FILE, CONFIG_FILE


def resume_command(out: Path, pair: str | None = None, *options: str) -> str:
    """Write the command that continues the run in ``out``; it can be pasted.

    Args:
        out: the folder of the run.
        pair: the pair that the run's configuration names, which only a command line may import.
        options: further options.

    >>> resume_command(Path("my run"), None, "--epochs", "20")
    "proxconnect train --resume 'my run' --epochs 20"
    """
    named = [] if pair is None else ["--pair", pair]
    return shlex.join(["proxconnect", "train", "--resume", str(out), *named, *options])


def interrupted(out: Path, pair: str | None = None) -> str:
    """Write the message after Ctrl-C of the run in ``out``: where it stopped, and how it is continued.

    ``pair`` is the pair that the run's configuration names.
    """
    if (out / CHECKPOINT_FILE).is_file():
        return f"interrupted{_progress(out)}; continue with: {resume_command(out, pair)}"
    if (out / CONFIG_FILE).is_file():
        place = shlex.quote(str(out))
        return f"interrupted; no epoch was completed: begin anew with --out {place} --overwrite"
    return "interrupted; nothing was written"


def _progress(out: Path) -> str:
    try:
        checkpoint = read_checkpoint(out)
    except TrainingError:  # the message must not hide the interruption
        return ""
    return f" after epoch {checkpoint.epoch} of {checkpoint.config.epochs}"
