"""Builds the C++ tests of the kernels, with sanitizers and for ARM, and runs them on cases that numpy solved.

The arrays of the tests lie between pages that cannot be touched, so reads and writes beyond them are seen in
every build, in vector instructions too.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from building import OWN_SETS, build, check_kernels, check_parallel, output_of, tool

TO_ARM = (
    *("-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64", "-DCMAKE_EXE_LINKER_FLAGS=-static"),
    "-DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++",
)


def build_sanitized(folder: Path, target: str, flags: str, sanitizers: str) -> Path:
    """Compile one test with sanitizers; skip where the compiler lacks them."""
    if sanitizers:
        flags += f" -fsanitize={sanitizers} -fno-sanitize-recover=all"
    probe = folder / "probe.cpp"
    probe.write_text("int main() { return 0; }\n")
    compiler = os.environ.get("CXX") or tool("c++")
    if subprocess.run(
        [compiler, *flags.split(), probe, "-o", folder / "probe"], capture_output=True
    ).returncode:
        pytest.skip(f"the C++ compiler has no {flags}")
    return build(folder, flags, *OWN_SETS, targets=(target,))


@pytest.mark.full
def test_every_set_gives_the_bits_that_numpy_gives(tmp_path: Path, cases: Path) -> None:
    """Without optimization, with the sanitizers that go together; test_set_boundaries.py has a quick run."""
    program = build_sanitized(tmp_path, "kernel_test", "-O0", "address,undefined") / "kernel_test"
    check_kernels(program, cases)


@pytest.mark.full
@pytest.mark.parametrize(
    ("flags", "sanitizers"), [("-O3", ""), ("-O2", "address"), ("-O2", "undefined"), ("-O2", "thread")]
)
def test_so_does_every_optimized_set(tmp_path: Path, cases: Path, flags: str, sanitizers: str) -> None:
    check_kernels(build_sanitized(tmp_path, "kernel_test", flags, sanitizers) / "kernel_test", cases)


@pytest.mark.parametrize(
    ("flags", "chosen"), [("-O0", "some_cases"), pytest.param("-O3", "cases", marks=pytest.mark.full)]
)
def test_so_do_those_of_arm_processors(
    tmp_path: Path, request: pytest.FixtureRequest, flags: str, chosen: str
) -> None:
    cases = request.getfixturevalue(chosen)
    tool("aarch64-linux-gnu-g++", "g++-aarch64-linux-gnu")
    emulator = tool("qemu-aarch64", "qemu-user")
    program = build(tmp_path, flags, *TO_ARM) / "kernel_test"
    with_dot_product = output_of(emulator, "-cpu", "max", program, cases)
    assert "sets: neon_dot neon portable\n0 failures" in with_dot_product
    if chosen == "cases":
        without = output_of(emulator, "-cpu", "cortex-a53", program, cases)
        assert "sets: neon portable\n0 failures" in without


@pytest.mark.parametrize("sanitizers", ["thread", pytest.param("address,undefined", marks=pytest.mark.full)])
def test_threads_share_the_work(tmp_path: Path, sanitizers: str) -> None:
    check_parallel(build_sanitized(tmp_path, "parallel_test", "-O1", sanitizers) / "parallel_test")
