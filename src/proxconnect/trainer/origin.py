"""Where a result comes from: commit, machine, versions."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

from proxconnect.base.version import __version__


def origin() -> dict[str, Any]:
    """What a reader needs to judge or repeat a measurement made by this process, as plain values.

    ``commit`` is that of this package's sources, with ``-dirty`` behind it where they differ from it, and
    None outside a git checkout.

    >>> sorted(origin())
    ['accelerator', 'commit', 'cores', 'processor', 'proxconnect', 'python', 'threads', 'torch']
    """
    return {
        "commit": _commit(Path(__file__).parents[1]),
        "proxconnect": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _commit(package: Path) -> str | None:
    # A package that is installed inside some other project's checkout is no part of that project's commit.
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    return _git(package, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
