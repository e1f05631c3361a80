"""The C++ builds without a warning, and its tests pass, with the compilers that README.md names."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from building import ROOT, build, check_kernels, check_parallel, find_compiler, newest_compiler


@pytest.mark.full
@pytest.mark.parametrize("flags", ["-O0", "-O3"])
@pytest.mark.parametrize(
    "compiler",
    ["g++-11", "g++-12", newest_compiler("g++", 12), "clang++-14", newest_compiler("clang++", 14)],
)
def test_the_oldest_and_the_newest(compiler: str, flags: str, tmp_path: Path, cases: Path) -> None:
    path = find_compiler(compiler)
    if path is None:
        pytest.skip(f"no {compiler} (tools/compilers unpacks all of them)")
    assert subprocess.run([ROOT / "tools" / "compiles", path]).returncode == 0
    targets = "kernel_test", "parallel_test"
    programs = build(tmp_path, flags, f"-DCMAKE_CXX_COMPILER={path}", targets=targets)
    check_kernels(programs / "kernel_test", cases)
    check_parallel(programs / "parallel_test")
