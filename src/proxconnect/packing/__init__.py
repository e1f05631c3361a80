"""Packing of trained models, in place or into a file, and loading of packed files."""

from __future__ import annotations

from proxconnect.packing._load import inspect, load
from proxconnect.packing._pack import pack_
from proxconnect.packing._save import save

__all__ = ["inspect", "load", "pack_", "save"]
