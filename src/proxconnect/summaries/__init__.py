"""Tables of the layers of a model or packed file: what is binary, what is not, and what that saves."""

from __future__ import annotations

from proxconnect.summaries.table import LayerSummary, Summary, summary

__all__ = ["LayerSummary", "Summary", "summary"]
