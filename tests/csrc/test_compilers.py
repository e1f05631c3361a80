"""The C++ builds without a warning, and its tests pass, with the compilers that README.md names."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from building import ROOT, build, check_kernels, check_parallel, find_compiler, newest_compiler

OLDEST_AND_NEWEST = ["g++-11", newest_compiler("g++", 12), "clang++-14", newest_compiler("clang++", 14)]


@pytest.mark.full
@pytest.mark.parametrize(
    ("compiler", "flags"),
    [("g++-12", "-O0"), *((compiler, flags) for compiler in OLDEST_AND_NEWEST for flags in ("-O0", "-O3"))],
)
def test_the_oldest_and_the_newest(compiler: str, flags: str, tmp_path: Path, cases: Path) -> None:
    """Build with each compiler without optimization, and with it by the oldest and the newest of a family.

    Without optimization a compiler shows what it accepts and warns of. What an optimizer gets wrong depends
    on its age, and the two ends bound it. The usual compiler, such as g++ 12, compiles the optimized sets
    that test_compiled_kernels.py runs.
    """
    path = find_compiler(compiler)
    if path is None:
        pytest.skip(f"no {compiler} (tools/compilers unpacks all of them)")
    assert subprocess.run([ROOT / "tools" / "compiles", path]).returncode == 0
    targets = "kernel_test", "parallel_test"
    programs = build(tmp_path, flags, f"-DCMAKE_CXX_COMPILER={path}", targets=targets)
    check_kernels(programs / "kernel_test", cases)
    check_parallel(programs / "parallel_test")
