"""Rewrite the graph of a packed network, as its file holds it, to one that runs on the kernels."""

from __future__ import annotations

from proxconnect.engine.fusion._fuse import fuse
from proxconnect.engine.fusion._rewriting import resolve_fused

__all__ = ["fuse", "resolve_fused"]
