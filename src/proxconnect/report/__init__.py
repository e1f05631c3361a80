"""Reports of training runs: one HTML file with all that their folders, packed files and data say."""

from __future__ import annotations

from proxconnect.report.write import write_report

__all__ = ["write_report"]
