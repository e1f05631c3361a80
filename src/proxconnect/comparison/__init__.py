"""Comparison of methods seed by seed: paired differences, their intervals, tables and forest plots."""

from __future__ import annotations

from proxconnect.comparison.compare import compare
from proxconnect.comparison.forest import Line, draw_forest, draw_lines
from proxconnect.comparison.paired import half_interval, seeds_needed, smallest_told
from proxconnect.comparison.result import Comparison, Row

__all__ = [
    "Comparison",
    "Line",
    "Row",
    "compare",
    "draw_forest",
    "draw_lines",
    "half_interval",
    "seeds_needed",
    "smallest_told",
]
