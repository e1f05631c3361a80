from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

CSRC = Path(__file__).parents[2] / "src" / "proxconnect" / "csrc"
SANITIZED = ["-std=c++20", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def compiler() -> str:
    """The compiler that the build would take."""
    for name in (os.environ.get("CXX"), "c++", "g++", "clang++"):
        if name and shutil.which(name):
            return name
    pytest.skip("no C++ compiler")


def test_kernels_stay_within_their_buffers(tmp_path: Path) -> None:
    probe = tmp_path / "probe.cpp"
    probe.write_text("int main() { return 0; }\n")
    if subprocess.run(
        [compiler(), *SANITIZED, probe, "-o", tmp_path / "probe"], capture_output=True
    ).returncode:
        pytest.skip("the C++ compiler has no sanitizers")

    sources = [Path(__file__).with_name("core_test.cpp"), CSRC / "dispatch.cpp"]
    sources += [path for path in CSRC.glob("*/*.cpp") if path.parent.name != "CMakeFiles"]
    program = tmp_path / "core_test"
    subprocess.run(
        [compiler(), *SANITIZED, "-Wall", "-Wextra", "-Werror", f"-I{CSRC}", *sources, "-o", program],
        check=True,
    )
    done = subprocess.run([program], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "portable: checked" in done.stdout
