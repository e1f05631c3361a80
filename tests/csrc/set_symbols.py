"""Finds code that the linker may share between kernel sets of x86 processors."""

from __future__ import annotations

import platform
import re
from pathlib import Path

import pytest
from building import output_of, tool

X86_SETS = ("portable", "avx2", "avx512", "amx")
# What a set may share with the rest: no code, but the address of the routine that exceptions are handled by.
SHARED = {"DW.ref.__gxx_personality_v0"}

on_x86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="not an x86 processor")


def defined(objects: list[Path]) -> list[tuple[str, str]]:
    """Kind and name of every symbol that the objects offer to others."""
    printed = output_of(tool("nm", "binutils"), "--demangle", "--defined-only", "--extern-only", *objects)
    return re.findall(r"^[0-9a-f]+ (\w) (.*)$", printed, re.MULTILINE)


def of_set(name: str, symbol: str) -> bool:
    """Tell whether a symbol is of the set's namespace, or one by which a sanitizer marks a global of it."""
    return symbol.startswith((f"proxconnect::{name}::", f"__odr_asan._ZN11proxconnect{len(name)}{name}"))


def of_any_set(symbol: str) -> bool:
    return any(of_set(name, symbol) for name in X86_SETS)


def check_symbols(folder: Path) -> None:
    for name in X86_SETS:
        objects = sorted(folder.glob(f"CMakeFiles/kernels_{name}.dir/**/*.o"))
        assert objects
        symbols = defined(objects)
        assert any(of_set(name, symbol) for _, symbol in symbols)
        foreign = {
            symbol
            for kind, symbol in symbols
            if symbol not in SHARED and not (kind in "TDRB" and of_any_set(symbol))
        }
        assert not foreign, f"the linker may share these functions of {name} with other sets"


def check_tables(folder: Path) -> None:
    """Check that the table of a set comes without code, which would be compiled for the set."""
    tables = sorted(folder.glob("CMakeFiles/kernels_*.dir/**/set.cpp.o"))
    assert len(tables) >= 3  # amx has its table beside that of avx512
    printed = output_of(tool("nm", "binutils"), "--demangle", "--defined-only", *tables)
    assert not re.findall(r"^[0-9a-f]+ [tTwW] .*$", printed, re.MULTILINE)
    assert "D proxconnect::avx512::kernels" in printed
