"""The C++ builds without a warning, and its tests pass, with the compilers that README.md names."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from building import build, output_of

from proxconnect import kernels

ROOT = Path(__file__).parents[2]
UNPACKED = ROOT / ".compilers" / "bin"  # where tools/compilers puts those that the system does not offer


def find(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path=str(UNPACKED))


def newest(name: str, oldest: int) -> str:
    """Find the highest installed version of a compiler, or ``name`` without a version."""
    for version in range(40, oldest, -1):
        if find(f"{name}-{version}"):
            return f"{name}-{version}"
    return name


def check(compiler: str, folder: Path, cases: Path, flags: str) -> None:
    """Build the tests with this compiler, and run them."""
    path = find(compiler)
    if path is None:
        pytest.skip(f"no {compiler} (Debian and Ubuntu: apt install clang; all compilers: tools/compilers)")
    assert subprocess.run([ROOT / "tools" / "compiles", path]).returncode == 0
    targets = "kernel_test", "pool_test"
    programs = build(folder, flags, f"-DCMAKE_CXX_COMPILER={path}", targets=targets)
    printed = output_of(programs / "kernel_test", cases)
    assert f"sets: {' '.join(kernels.kernel_sets())}\n0 failures" in printed
    assert ": 0 cases" not in printed
    assert "0 parts done other than once" in output_of(programs / "pool_test")


def test_clang_builds_it(tmp_path: Path, cases: Path) -> None:
    check("clang++" if find("clang++") else newest("clang++", 13), tmp_path, cases, "-O0")


@pytest.mark.full
@pytest.mark.parametrize("flags", ["-O0", "-O3"])
@pytest.mark.parametrize(
    "compiler", ["g++-11", "g++-12", newest("g++", 12), "clang++-14", newest("clang++", 14)]
)
def test_so_do_the_oldest_and_the_newest(compiler: str, flags: str, tmp_path: Path, cases: Path) -> None:
    check(compiler, tmp_path, cases, flags)
