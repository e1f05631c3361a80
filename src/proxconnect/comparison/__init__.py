"""Comparison of methods seed by seed: paired differences, their intervals, tables and forest plots."""

from __future__ import annotations

from proxconnect.comparison.compare import compare
from proxconnect.comparison.result import Comparison, Row

__all__ = ["Comparison", "Row", "compare"]
