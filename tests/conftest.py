"""Random tensors and examples: the same on every run, unless ``--hypothesis-profile=new`` asks for others."""

from __future__ import annotations

import pytest
import torch
from hypothesis import settings

# No deadlines: how long an example takes is the business of benchmarks.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("new", print_blob=True, deadline=None)
settings.load_profile("same")


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Give every test the same random tensors, independent of the tests before it."""
    torch.manual_seed(0)
