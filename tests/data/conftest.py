"""Tiny image files, parquet files and folders, made anew for each test."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

Pixels = np.ndarray


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set the default cache, so that no test reads or writes the user's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("PROXCONNECT_CACHE", str(folder))
    return folder


@pytest.fixture
def random_pixels() -> Callable[..., Pixels]:
    generator = np.random.default_rng(0)

    def make(count: int, height: int = 8, width: int = 8, channels: int = 3) -> Pixels:
        return generator.integers(0, 256, (count, height, width, channels), dtype=np.uint8)

    return make


@pytest.fixture
def encode() -> Callable[..., bytes]:
    """One image (H, W, C) as a file's bytes; PNG by default, so that pixels come back exactly."""

    def encoded(pixels: Pixels, kind: str = "PNG") -> bytes:
        stream = io.BytesIO()
        Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(stream, kind)
        return stream.getvalue()

    return encoded


@pytest.fixture
def write_parquet() -> Callable[..., Path]:
    """Write image files and labels in the Hugging Face layout."""

    def write(
        path: Path,
        files: Sequence[bytes | None],
        labels: Sequence[int | None],
        *,
        image: str = "img",
        label: str = "label",
        metadata: dict[str, str] | None = None,
    ) -> Path:
        structs: list[Any] = [{"bytes": file, "path": None} for file in files]
        kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
        table = pa.table({image: pa.array(structs, kind), label: pa.array(labels, pa.int64())})
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table.replace_schema_metadata(metadata), path)
        return path

    return write
