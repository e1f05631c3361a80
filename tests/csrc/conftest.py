from __future__ import annotations

import os
from pathlib import Path

import pytest
from filelock import FileLock
from kernel_cases import write_cases

# The parts of the cases that each file has.
FILES = {"all.bin": 1.0, "some.bin": 1 / 15, "few.bin": 1 / 60}


@pytest.fixture(scope="session")
def folder_of_cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the cases of kernel_test.cpp once for all processes that share the tests."""
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "cases"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            folder.mkdir()
            write_cases({folder / name: part for name, part in FILES.items()})
    return folder


@pytest.fixture(scope="session")
def cases(folder_of_cases: Path) -> Path:
    """Return the file of all cases of kernel_test.cpp."""
    return folder_of_cases / "all.bin"


@pytest.fixture(scope="session")
def some_cases(folder_of_cases: Path) -> Path:
    """Return a part of the cases, with every kernel in it, that slow programs run in seconds."""
    return folder_of_cases / "some.bin"


@pytest.fixture(scope="session")
def few_cases(folder_of_cases: Path) -> Path:
    """Return a smaller part, also with every kernel in it, for processors that are emulated."""
    return folder_of_cases / "few.bin"
