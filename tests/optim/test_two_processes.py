"""Training in two processes equals training in one process."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def compared(script: Path, folder: Path) -> Any:
    """Run a script in two processes, which compare, and return what this one found.

    This process is the first of the two, since to start one takes longer than to train.
    """
    other = subprocess.Popen(
        [sys.executable, str(script), "1", str(folder / "store")], stderr=subprocess.PIPE, text=True
    )
    try:
        found = runpy.run_path(str(script))["compared"](0, folder / "store")
        _, said = other.communicate(timeout=600)
    finally:
        other.kill()
    assert other.returncode == 0, said
    return found


def test_two_processes_equal_one_under_every_rule(tmp_path: Path) -> None:
    """gloo, float64: latents within 1e-12 and the same signs."""
    assert len(compared(HERE / "ddp_rules.py", tmp_path)) == 6


def test_two_processes_equal_one_after_fully_shard_and_then_binarize(tmp_path: Path) -> None:
    """gloo, float64: all parameters within 1e-10, for two rules with two weights in parts each."""
    assert compared(HERE / "divided_first.py", tmp_path) == 4
