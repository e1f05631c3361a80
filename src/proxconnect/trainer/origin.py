"""The origin of a result: commit, machine and versions."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

from proxconnect.base.version import __version__


def origin() -> dict[str, Any]:
    """Describe the commit, machine and versions of this process, so that a measurement can be repeated.

    ``commit`` is the commit of this package's sources. It ends in ``-dirty`` if the sources differ from the
    commit, and is None outside a git checkout.

    >>> sorted(origin())
    ['accelerator', 'commit', 'cores', 'processor', 'proxconnect', 'python', 'threads', 'torch']
    """
    return {
        "commit": _commit(Path(__file__).parents[1]),
        "proxconnect": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _commit(package: Path) -> str | None:
    # A package may be installed inside the checkout of another project, whose commit does not describe it.
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    return _git(package, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def processor() -> str:
    """Return the name of this machine's processor, as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
