"""Changed graphs are refused, or both kinds of kernels answer alike."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(("seed", "count"), [(0, 30), pytest.param(1, 3000, marks=pytest.mark.full)])
def test_changed_graphs_end_in_an_error_or_the_same_answer(seed: int, count: int) -> None:
    # In a process of its own: what this looks for might end it.
    script = Path(__file__).with_name("hostile_graphs.py")
    command = [sys.executable, str(script), "--seed", str(seed), "--count", str(count)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
