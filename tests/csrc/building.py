"""Builds the C++ tests and runs them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from proxconnect import kernels

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CSRC = ROOT / "src" / "proxconnect" / "csrc"
PATH = str(Path(sys.executable).parent)
UNPACKED = ROOT / ".compilers" / "bin"  # where tools/compilers puts those that the system does not offer

# For programs that run on this processor alone: no sets that it lacks.
OWN_SETS = () if "avx512" in kernels.kernel_sets() else ("-DPROXCONNECT_AVX512=OFF",)


def tool(name: str, package: str = "") -> str:
    """Find a program in this environment, or in the system."""
    found = shutil.which(name, path=PATH) or shutil.which(name)
    if found is None:
        pytest.skip(f"no {name}" + (f" (Debian and Ubuntu: apt install {package})" if package else ""))
    return found


def find_compiler(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path=str(UNPACKED))


def newest_compiler(name: str, oldest: int) -> str:
    """Find the highest installed version of a compiler, or ``name`` without a version."""
    for version in range(40, oldest, -1):
        if find_compiler(f"{name}-{version}"):
            return f"{name}-{version}"
    return name


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


def check_kernels(program: Path, cases: Path) -> None:
    """Run the cases in every set of this processor, and each kernel in some of them."""
    printed = output_of(program, cases)
    assert f"sets: {' '.join(kernels.kernel_sets())}\n0 failures" in printed
    assert ": 0 cases" not in printed


def check_parallel(program: Path) -> None:
    assert "0 parts done other than once" in output_of(program)
