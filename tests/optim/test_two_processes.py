"""Training in two processes equals training in one process."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent / "ddp_rules.py"


def test_two_processes_equal_one_under_every_rule(tmp_path: Path) -> None:
    """gloo, float64: latents within 1e-12 and the same signs; the script compares.

    This process is the first of the two, since to start one takes longer than to train.
    """
    other = subprocess.Popen(
        [sys.executable, str(SCRIPT), "1", str(tmp_path / "store")], stderr=subprocess.PIPE, text=True
    )
    try:
        rules = runpy.run_path(str(SCRIPT))["compared"](0, tmp_path / "store")
        _, said = other.communicate(timeout=600)
    finally:
        other.kill()
    assert other.returncode == 0, said
    assert len(rules) == 6
