"""No instruction of a kernel set runs on a processor that lacks it.

Code that several sets compile, of which the linker keeps one, could carry a set's instructions to where they
are not known. Without optimization nothing is inlined away, so most of such code is seen there. The same
build runs the cases that numpy solved, and stops at undefined behaviour.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from building import build, check_kernels, check_parallel, find_compiler, newest_compiler, output_of, tool
from set_symbols import X86_SETS, check_symbols, check_tables, on_x86

# GCC's checks of undefined behaviour, which need no library: they run in an emulator, and add no functions.
UNDEFINED = "-fsanitize=undefined -fsanitize-undefined-trap-on-error"


@pytest.fixture(scope="module", params=["the usual compiler", pytest.param("Clang", marks=pytest.mark.full)])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the tests without optimization; those of GCC stop at undefined behaviour."""
    compiler = os.environ.get("CXX") or tool("c++")
    if request.param == "Clang":
        found = find_compiler("clang++") or find_compiler(newest_compiler("clang++", 13))
        compiler = found or pytest.skip("no clang++")
    clang = "clang" in output_of(*compiler.split(), "--version")
    return build(
        tmp_path_factory.mktemp("unoptimized"),
        "-O0" if clang else f"-O0 {UNDEFINED}",
        *([f"-DCMAKE_CXX_COMPILER={compiler}"] if request.param == "Clang" else []),
        targets=("kernel_test", "parallel_test"),
    )


@pytest.mark.parametrize("chosen", ["some_cases", pytest.param("cases", marks=pytest.mark.full)])
def test_an_unoptimized_build_passes_the_tests(
    built: Path, request: pytest.FixtureRequest, chosen: str
) -> None:
    check_kernels(built / "kernel_test", request.getfixturevalue(chosen))
    check_parallel(built / "parallel_test")


@on_x86
def test_sets_share_no_function_with_each_other(built: Path) -> None:
    check_symbols(built)


@on_x86
def test_the_question_whether_a_set_runs_is_asked_without_its_instructions(built: Path) -> None:
    check_tables(built)


@on_x86
@pytest.mark.full
@pytest.mark.parametrize("flags", ["-O0", "-O1", "-Os", "-O3"])
def test_nor_do_those_of_the_usual_compiler(tmp_path: Path, flags: str) -> None:
    check_symbols(build(tmp_path, flags, targets=tuple(f"kernels_{name}" for name in X86_SETS)))


@on_x86
@pytest.mark.parametrize(
    ("processor", "sets", "chosen"),
    [
        pytest.param("Nehalem", "portable", "some_cases", marks=pytest.mark.full),
        pytest.param("Haswell,-avx2", "portable", "some_cases", marks=pytest.mark.full),
        pytest.param("Haswell", "avx2 portable", "some_cases", marks=pytest.mark.full),
        ("Haswell", "avx2 portable", "few_cases"),
    ],
)
def test_processors_without_a_set_never_meet_it(
    built: Path, request: pytest.FixtureRequest, processor: str, sets: str, chosen: str
) -> None:
    cases = request.getfixturevalue(chosen)
    emulator = tool("qemu-x86_64", "qemu-user")
    version = re.search(r"version (\d+)\.(\d+)", output_of(emulator, "--version"))
    assert version is not None
    if "avx2" in sets and (int(version[1]), int(version[2])) < (7, 2):
        pytest.skip(f"qemu-x86_64 {version[1]}.{version[2]} has no AVX2; version 7.2 has")
    printed = output_of(emulator, "-cpu", processor, built / "kernel_test", cases)
    assert f"sets: {sets}\n0 failures" in printed
    assert ": 0 cases" not in printed
