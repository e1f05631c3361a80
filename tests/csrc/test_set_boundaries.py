"""No instruction of a kernel set runs on a processor that lacks it.

Code that several sets compile, of which the linker keeps one, could carry a set's instructions to where they
are not known. Without optimization nothing is inlined away, so most of such code is seen there.
"""

from __future__ import annotations

import platform
import re
from pathlib import Path

import pytest
from building import build, output_of, tool

X86_SETS = ("portable", "avx2", "avx512")
# What a set may share with the rest: no code, but the address of the routine that exceptions are handled by.
SHARED = {"DW.ref.__gxx_personality_v0"}

pytestmark = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="not an x86 processor")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the tests of the kernels without optimization."""
    return build(tmp_path_factory.mktemp("unoptimized"), "-O0")


def defined(objects: list[Path]) -> list[tuple[str, str]]:
    """Kind and name of every symbol that the objects offer to others."""
    printed = output_of(tool("nm", "binutils"), "--demangle", "--defined-only", "--extern-only", *objects)
    return re.findall(r"^[0-9a-f]+ (\w) (.*)$", printed, re.MULTILINE)


def check_symbols(folder: Path) -> None:
    for name in X86_SETS:
        objects = sorted(folder.glob(f"CMakeFiles/kernels_{name}.dir/**/*.o"))
        assert len(objects) > 5
        symbols = defined(objects)
        assert any(symbol.startswith(f"proxconnect::{name}::") for _, symbol in symbols)
        foreign = {
            symbol
            for kind, symbol in symbols
            if symbol not in SHARED and not (kind in "TDRB" and symbol.startswith(f"proxconnect::{name}::"))
        }
        assert not foreign, f"the linker may share these functions of {name} with other sets"


def test_sets_share_no_function_with_each_other(built: Path) -> None:
    check_symbols(built)


@pytest.mark.full
@pytest.mark.parametrize("flags", ["-O1", "-Os", "-O3"])
def test_nor_do_they_optimized(tmp_path: Path, flags: str) -> None:
    check_symbols(build(tmp_path, flags, targets=tuple(f"kernels_{name}" for name in X86_SETS)))


@pytest.mark.parametrize(
    ("processor", "sets"),
    [("Nehalem", "portable"), ("Haswell,-avx2", "portable"), ("Haswell", "avx2 portable")],
)
def test_processors_without_a_set_never_meet_it(
    built: Path, some_cases: Path, processor: str, sets: str
) -> None:
    emulator = tool("qemu-x86_64", "qemu-user")
    version = re.search(r"version (\d+)\.(\d+)", output_of(emulator, "--version"))
    assert version is not None
    if "avx2" in sets and (int(version[1]), int(version[2])) < (7, 2):
        pytest.skip(f"qemu-x86_64 {version[1]}.{version[2]} has no AVX2; version 7.2 has")
    printed = output_of(emulator, "-cpu", processor, built / "kernel_test", some_cases)
    assert f"sets: {sets}\n0 failures" in printed
    assert ": 0 cases" not in printed
