"""Packing of trained models, in place or into a file, and loading of packed files."""

from __future__ import annotations

from proxconnect.packing._load import inspect, load
from proxconnect.packing._pack import pack_
from proxconnect.packing._save import save
from proxconnect.packing._store import (
    dense_tensors,
    distinct_weights,
    hardened_copy,
    packed_bits,
    packed_form,
)

__all__ = [
    "dense_tensors",
    "distinct_weights",
    "hardened_copy",
    "inspect",
    "load",
    "pack_",
    "packed_bits",
    "packed_form",
    "save",
]
