from __future__ import annotations

from pathlib import Path

import pytest
from kernel_cases import write_cases


@pytest.fixture(scope="session")
def folder_of_cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cases")
    write_cases({folder / "all.bin": 1, folder / "some.bin": 7})
    return folder


@pytest.fixture(scope="session")
def cases(folder_of_cases: Path) -> Path:
    """Return the file of all cases of kernel_test.cpp."""
    return folder_of_cases / "all.bin"


@pytest.fixture(scope="session")
def some_cases(folder_of_cases: Path) -> Path:
    """Return a part of the cases, with every kernel in it, that an emulator runs in seconds."""
    return folder_of_cases / "some.bin"
