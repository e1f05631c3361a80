"""Random tensors and examples: the same on every run, unless ``--hypothesis-profile=new`` asks for others."""

from __future__ import annotations

import pytest
import torch
from hypothesis import settings

settings.register_profile("same", derandomize=True)
settings.register_profile("new", print_blob=True)
settings.load_profile("same")


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Gives every test the same random tensors, whatever ran before it."""
    torch.manual_seed(0)
