"""Fixtures of the tests of kernels."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from proxconnect import kernels


@pytest.fixture(params=kernels.kernel_sets(), scope="module")
def every_kernel_set(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run the tests of a module with each kernel set that runs here."""
    before = kernels.active_kernels()
    kernels.use_kernels(request.param)
    yield
    kernels.use_kernels(before)


@pytest.fixture(autouse=True)
def restored_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
