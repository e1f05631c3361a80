"""Builds the C++ tests of the kernels and runs every instruction set that this processor has.

The arrays of the tests end at memory that cannot be touched, so reads and writes beyond them are seen without
the sanitizers, whose builds take long.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CSRC = HERE.parents[1] / "src" / "proxconnect" / "csrc"
PATH = str(Path(sys.executable).parent)


def tool(name: str) -> str:
    """The program of this environment, or of the system."""
    found = shutil.which(name, path=PATH) or shutil.which(name)
    if found is None:
        pytest.skip(f"no {name}")
    return found


def build(folder: Path, target: str, sanitizers: str) -> Path:
    """Compile one test; skip where the compiler has no such sanitizers."""
    probe = folder / "probe.cpp"
    probe.write_text("int main() { return 0; }\n")
    flags = f"-fsanitize={sanitizers} -fno-sanitize-recover=all" if sanitizers else ""
    if subprocess.run(
        [tool("c++"), *flags.split(), probe, "-o", folder / "probe"], capture_output=True
    ).returncode:
        pytest.skip(f"the C++ compiler has no {flags}")
    configure = [
        *(tool("cmake"), "-S", CSRC, "-B", folder, "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={tool('ninja')}"),
        *("-DCMAKE_BUILD_TYPE=None", f"-DCMAKE_CXX_FLAGS={flags} -O1"),
        *(f"-DPROXCONNECT_TESTS={HERE}", "-DPROXCONNECT_WERROR=ON"),
    ]
    for command in (configure, [tool("cmake"), "--build", folder, "--target", target]):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder / target


@pytest.mark.parametrize(
    ("target", "sanitizers", "says"),
    [
        ("core_test", "", "portable: checked"),
        ("conv_test", "", "portable: checked"),
        ("pool_test", "thread", "0 parts done other than once"),
        pytest.param("core_test", "address", "portable: checked", marks=pytest.mark.full),
        pytest.param("core_test", "undefined", "portable: checked", marks=pytest.mark.full),
        pytest.param("conv_test", "address", "portable: checked", marks=pytest.mark.full),
        pytest.param("conv_test", "undefined", "portable: checked", marks=pytest.mark.full),
        pytest.param("pool_test", "address,undefined", "0 parts", marks=pytest.mark.full),
    ],
)
def test_kernels_stay_within_their_buffers(tmp_path: Path, target: str, sanitizers: str, says: str) -> None:
    done = subprocess.run([build(tmp_path, target, sanitizers)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert says in done.stdout
