"""The command line: one file per command."""

from __future__ import annotations

from proxconnect.cli.app import main

__all__ = ["main"]
