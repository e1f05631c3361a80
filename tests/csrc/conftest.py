from __future__ import annotations

from pathlib import Path

import pytest
from kernel_cases import write_cases


@pytest.fixture(scope="session")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the cases of kernel_test.cpp."""
    path = tmp_path_factory.mktemp("cases") / "cases.bin"
    write_cases(path)
    return path


@pytest.fixture(scope="session")
def some_cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a part of the cases, with every kernel in it, that an emulator runs in seconds."""
    path = tmp_path_factory.mktemp("cases") / "some.bin"
    write_cases(path, every=7)
    return path
