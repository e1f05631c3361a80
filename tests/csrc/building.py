"""Builds the C++ tests and runs them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CSRC = HERE.parents[1] / "src" / "proxconnect" / "csrc"
PATH = str(Path(sys.executable).parent)


def tool(name: str, package: str = "") -> str:
    """Find a program in this environment, or in the system."""
    found = shutil.which(name, path=PATH) or shutil.which(name)
    if found is None:
        pytest.skip(f"no {name}" + (f" (Debian and Ubuntu: apt install {package})" if package else ""))
    return found


def build(folder: Path, flags: str, *options: str, targets: tuple[str, ...] = ("kernel_test",)) -> Path:
    """Compile some targets, a warning being an error, and return the folder that they are in."""
    configure = [
        *(tool("cmake"), "-S", CSRC, "-B", folder, "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={tool('ninja')}"),
        *("-DCMAKE_BUILD_TYPE=None", f"-DCMAKE_CXX_FLAGS={flags}", f"-DPROXCONNECT_TESTS={HERE}"),
        *("-DPROXCONNECT_WERROR=ON", *options),
    ]
    output_of(*configure)
    output_of(tool("cmake"), "--build", folder, "--target", *targets)
    return folder


def output_of(*command: str | Path) -> str:
    """Run a command that has to succeed, and return its output."""
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
