"""Tables of the layers of a model or packed file, with their precision, size and operations."""

from __future__ import annotations

from proxconnect.summaries._unfused import UnfusedOperator
from proxconnect.summaries.table import LayerSummary, Summary, summary

__all__ = ["LayerSummary", "Summary", "UnfusedOperator", "summary"]
