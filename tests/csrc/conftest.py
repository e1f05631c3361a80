from __future__ import annotations

from pathlib import Path

import pytest
from kernel_cases import write_cases


@pytest.fixture(scope="session")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cases of kernel_test.cpp."""
    path = tmp_path_factory.mktemp("cases") / "cases.bin"
    write_cases(path)
    return path


@pytest.fixture(scope="session")
def some_cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A part of them that an emulator gets through in seconds, with every kernel in it."""
    path = tmp_path_factory.mktemp("cases") / "some.bin"
    write_cases(path, every=7)
    return path
