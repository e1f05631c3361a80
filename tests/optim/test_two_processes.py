"""Training under torchrun equals training in one process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_two_processes_equal_one_under_every_rule() -> None:
    """gloo, float64: latents within 1e-12 and the same signs; the script compares."""
    script = Path(__file__).parent / "ddp_rules.py"
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        str(script),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("equal") == 6
