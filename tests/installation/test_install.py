from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def install(folder: Path, settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run ``tools/install`` in a folder that has no more of the project than it reads first."""
    shutil.copytree(ROOT / "tools", folder / "tools")
    (folder / "src").symlink_to(ROOT / "src")
    return subprocess.run(
        [folder / "tools" / "install"], env=os.environ | settings, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ({"PYTHON": "no-such-python"}, "needs Python 3.11 or newer (tried: no-such-python)"),
        (
            {"CXX": "no-such-compiler"},
            "needs a C++ compiler that its sources compile with, such as GCC 11 or Clang 14 "
            "(tried: no-such-compiler)",
        ),
    ],
)
def test_what_is_missing_is_said_in_one_line(missing: dict[str, str], words: str, tmp_path: Path) -> None:
    done = install(tmp_path, missing)
    assert done.returncode == 1
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / ".venv").exists()


def compiles(compiler: str) -> bool:
    return subprocess.run([ROOT / "tools" / "compiles", compiler], capture_output=True).returncode == 0


def test_a_compiler_is_taken_if_it_compiles_what_the_sources_need() -> None:
    compiler = os.environ.get("CXX") or shutil.which("c++")
    assert compiler is not None
    assert compiles(compiler)
    # As compilers that lack vectors of their own, or a part of C++20.
    assert not compiles(f"{compiler} -D__builtin_convertvector=nothing_of_the_kind")
    assert not compiles(f"{compiler} -Dconstinit=nothing_of_the_kind")
