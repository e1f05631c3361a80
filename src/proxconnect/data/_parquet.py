"""Parquet files in the Hugging Face layout."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from proxconnect.base.optional import needed_for
from proxconnect.data._encoded import EncodedImages, class_names
from proxconnect.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

_FOLDERS = (".", "data", "plain_text")
_STEMS = {"train": ("train",), "val": ("validation", "val"), "test": ("test",)}
_IMAGE_COLUMNS = ("img", "image")
_LABEL_COLUMNS = ("label", "fine_label")


def find_parquet(folder: Path, split: str) -> list[Path]:
    """Find the file or the shards of ``split``, in order; the list is empty if there are none.

    Raises:
        DataError: a shard is missing.
    """
    for place in (folder / name for name in _FOLDERS):
        for stem in _STEMS[split]:
            whole = place / f"{stem}.parquet"
            if whole.is_file():
                return [whole]
            if shards := _shards(place, stem):
                return shards
    return []


def read_parquet(paths: list[Path], known: tuple[str, ...] | None = None) -> EncodedImages:
    """Read image files and labels; class names are those the file declares, else ``known``, else numbers.

    Raises:
        DataError: a file is corrupt, has other columns or no rows, or a value is missing or out of range.
    """
    with needed_for("Reading parquet files"):
        import pyarrow as pa
        import pyarrow.parquet as pq
        from pyarrow.compute import struct_field

    files: list[bytes | None] = []
    labels: list[int | None] = []
    origins: list[tuple[Path, int]] = []
    declared: tuple[str, ...] | None = None
    for path in paths:
        try:
            with pq.ParquetFile(path) as file:
                schema = file.schema_arrow
                image, label = _columns(path, schema)
                table = file.read(columns=[f"{image}.bytes", label])
            files += struct_field(table[image], "bytes").to_pylist()
            labels += table[label].to_pylist()
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise DataError(f"cannot read {path} as parquet: {error}; fetch the file again") from error
        declared = declared or _declared_classes(schema.metadata or {}, label)
        origins += [(path, row) for row in range(table.num_rows)]

    def where(row: int) -> str:
        path, number = origins[row]
        return f"row {number} (from 0) of {path}"

    if not labels:
        raise DataError(f"{', '.join(map(str, paths))} has no rows; expected at least one image")
    for row, content in enumerate(files):
        if content is None:
            raise DataError(f"{where(row)} has no image bytes (null); store the file, not only its path")
    classes = class_names(labels, declared or known, where)
    return EncodedImages(files.__getitem__, where, labels, classes)  # type: ignore[arg-type]


def expected_parquet(folder: Path, split: str) -> str:
    """Name the files that `find_parquet` looks for, for an error message."""
    stem = _STEMS[split][0]
    return f"{stem}.parquet or {stem}-00000-of-0000N.parquet in {folder} or its subfolders data, plain_text"


def _shards(place: Path, stem: str) -> list[Path]:
    pattern = re.compile(rf"{stem}-\d+-of-(\d+)\.parquet")
    named = {path: pattern.fullmatch(path.name) for path in place.glob(f"{stem}-*")}
    shards = sorted(path for path, match in named.items() if match)
    total = max((int(match[1]) for match in named.values() if match), default=0)
    if len(shards) != total:
        raise DataError(f"{place} has {len(shards)} of {total} shards of {stem}; fetch the missing ones")
    return shards


def _columns(path: Path, schema: pa.Schema) -> tuple[str, str]:
    import pyarrow as pa

    def is_image(kind: pa.DataType) -> bool:
        fields = {field.name: field.type for field in kind} if pa.types.is_struct(kind) else {}
        return fields.get("bytes") in (pa.binary(), pa.large_binary())

    types = {field.name: field.type for field in schema}
    images = [name for name in _IMAGE_COLUMNS if name in types and is_image(types[name])]
    labels = [name for name in _LABEL_COLUMNS if name in types and pa.types.is_integer(types[name])]
    if not images or not labels:
        found = ", ".join(f"{name} ({kind})" for name, kind in types.items())
        raise DataError(
            f"{path} has the columns {found}; expected {' or '.join(_IMAGE_COLUMNS)} (a struct with an image "
            f"file in a binary field 'bytes') and {' or '.join(_LABEL_COLUMNS)} (an integer)"
        )
    return images[0], labels[0]


def _declared_classes(metadata: Mapping[bytes, bytes], label: str) -> tuple[str, ...] | None:
    """Read class names from the metadata of Hugging Face datasets, or from a list under "classes"."""
    names: object = metadata.get(b"classes", b"").decode(errors="replace").split(",")
    with suppress(ValueError, LookupError, TypeError):
        names = json.loads(metadata[b"huggingface"])["info"]["features"][label]["names"]
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        return None
    return tuple(names) or None
