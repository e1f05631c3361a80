"""Fixtures for the tests of other libraries' loops and models."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture
def quiet_transformers() -> Iterator[None]:
    """Leave out the bars and reports of transformers."""
    from transformers import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    yield
    logging.set_verbosity(level)
