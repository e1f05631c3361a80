"""The figures that a module draws, kept for a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from matplotlib.figure import Figure

from proxconnect.base.figures import figure_to


def figures_of(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Return a list that gets every figure which ``module`` draws to a file."""
    figures: list[Figure] = []

    @contextmanager
    def remembered(path: Path, size: tuple[float, float], **options: Any) -> Iterator[Figure]:
        with figure_to(path, size, **options) as figure:
            figures.append(figure)
            yield figure

    monkeypatch.setattr(module, "figure_to", remembered)
    return figures
