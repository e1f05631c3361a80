"""Builds the C++ tests of the kernels, with sanitizers and for ARM, and runs them on cases that numpy solved.

The arrays of the tests lie between pages that cannot be touched, so reads and writes beyond them are seen in
every build, in vector instructions too.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from kernel_cases import write_cases

from proxconnect.engine import kernels

HERE = Path(__file__).parent
CSRC = HERE.parents[1] / "src" / "proxconnect" / "csrc"
PATH = str(Path(sys.executable).parent)

TO_ARM = (
    *("-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64", "-DCMAKE_EXE_LINKER_FLAGS=-static"),
    "-DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++",
)


def tool(name: str, package: str = "") -> str:
    """The program of this environment, or of the system."""
    found = shutil.which(name, path=PATH) or shutil.which(name)
    if found is None:
        pytest.skip(f"no {name}" + (f" (Debian and Ubuntu: apt install {package})" if package else ""))
    return found


def build(folder: Path, target: str, flags: str, *options: str) -> Path:
    """Compile one test."""
    configure = [
        *(tool("cmake"), "-S", CSRC, "-B", folder, "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={tool('ninja')}"),
        *("-DCMAKE_BUILD_TYPE=None", f"-DCMAKE_CXX_FLAGS={flags}", f"-DPROXCONNECT_TESTS={HERE}"),
        *("-DPROXCONNECT_WERROR=ON", *options),
    ]
    for command in (configure, [tool("cmake"), "--build", folder, "--target", target]):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder / target


def build_sanitized(folder: Path, target: str, flags: str, sanitizers: str) -> Path:
    """The same with sanitizers; skip where the compiler lacks them."""
    if sanitizers:
        flags += f" -fsanitize={sanitizers} -fno-sanitize-recover=all"
    probe = folder / "probe.cpp"
    probe.write_text("int main() { return 0; }\n")
    if subprocess.run(
        [tool("c++"), *flags.split(), probe, "-o", folder / "probe"], capture_output=True
    ).returncode:
        pytest.skip(f"the C++ compiler has no {flags}")
    return build(folder, target, flags)


def output_of(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cases") / "cases.bin"
    write_cases(path)
    return path


@pytest.mark.parametrize(
    ("flags", "sanitizers"),
    [
        ("-O0", "address,undefined"),
        pytest.param("-O3", "", marks=pytest.mark.full),
        pytest.param("-O2", "address", marks=pytest.mark.full),
        pytest.param("-O2", "undefined", marks=pytest.mark.full),
        pytest.param("-O2", "thread", marks=pytest.mark.full),
    ],
)
def test_every_set_gives_the_bits_that_numpy_gives(
    tmp_path: Path, cases: Path, flags: str, sanitizers: str
) -> None:
    printed = output_of(build_sanitized(tmp_path, "kernel_test", flags, sanitizers), cases)
    assert f"sets: {' '.join(kernels.kernel_sets())}\n0 failures" in printed
    assert ": 0 cases" not in printed


@pytest.mark.parametrize("flags", ["-O1", pytest.param("-O3", marks=pytest.mark.full)])
def test_so_do_those_of_arm_processors(tmp_path: Path, cases: Path, flags: str) -> None:
    tool("aarch64-linux-gnu-g++", "g++-aarch64-linux-gnu")
    emulator = tool("qemu-aarch64", "qemu-user")
    program = build(tmp_path, "kernel_test", flags, *TO_ARM)
    with_dot_product = output_of(emulator, "-cpu", "max", program, cases)
    assert "sets: neon_dot neon portable\n0 failures" in with_dot_product
    without = output_of(emulator, "-cpu", "cortex-a53", program, cases)
    assert "sets: neon portable\n0 failures" in without


@pytest.mark.parametrize("sanitizers", ["thread", pytest.param("address,undefined", marks=pytest.mark.full)])
def test_threads_share_the_pool(tmp_path: Path, sanitizers: str) -> None:
    printed = output_of(build_sanitized(tmp_path, "pool_test", "-O1", sanitizers))
    assert "0 parts done other than once" in printed
