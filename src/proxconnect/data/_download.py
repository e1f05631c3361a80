"""CIFAR-10 from the Hugging Face hub."""

from __future__ import annotations

import http.client
import shutil
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from proxconnect._files import written_whole
from proxconnect._optional import needed_for
from proxconnect.errors import DataError

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

_FOLDER = "https://huggingface.co/datasets/uoft-cs/cifar10/resolve/main/plain_text"
_ROWS = {"train": 50_000, "test": 10_000}
_SECONDS_OF_SILENCE = 30


def cifar10(split: str, cache: Path, opener: Callable[..., Any] = urllib.request.urlopen) -> Path:
    """The parquet file of ``split`` ("train" or "test"), downloaded into folder ``cache`` unless it is there.

    Raises:
        DataError: it cannot be downloaded, or is not the file expected.
    """
    path = cache / "cifar10" / f"{split}.parquet"
    if _rows(path) == _ROWS[split]:
        return path
    address = f"{_FOLDER}/{split}-00000-of-00001.parquet"
    try:
        with written_whole(path) as temporary:
            with opener(address, timeout=_SECONDS_OF_SILENCE) as answer, temporary.open("wb") as file:
                shutil.copyfileobj(answer, file)
            stated, received = answer.headers.get("Content-Length"), temporary.stat().st_size
            if stated is not None and int(stated) != received:
                raise OSError(f"{received} of {stated} bytes arrived")
            if _rows(temporary) != _ROWS[split]:
                raise OSError(f"what arrived is not a parquet file of {_ROWS[split]} rows")
    except (OSError, http.client.HTTPException) as error:
        raise DataError(
            f"cannot download cifar10 from {address}: {error}. Without a network, pass a folder that holds "
            "train.parquet and test.parquet (columns img and label), a folder of images by class "
            "(train/<class>/<image>), or 'digits', which needs no download"
        ) from error
    return path


def _rows(path: Path) -> int | None:
    with needed_for("Reading parquet files"):
        import pyarrow as pa
        import pyarrow.parquet as pq

    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError):
        return None
