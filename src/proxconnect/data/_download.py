"""CIFAR-10 from the Hugging Face hub."""

from __future__ import annotations

import hashlib
import http.client
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from proxconnect.base.files import make_folder, written_whole
from proxconnect.base.optional import needed_for
from proxconnect.errors import DataError

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

# A revision never changes, and the checksums show that the download is this revision.
_REVISION = "0b2714987fa478483af9968de7c934580d0bb9a2"
_FOLDER = f"https://huggingface.co/datasets/uoft-cs/cifar10/resolve/{_REVISION}/plain_text"
_SHA256 = {
    "train": "8428b53a88a11ac374111006708df51469e315a22ac6d66470afd9c78d2ae883",
    "test": "841389e6f2d64f28bf17310e430aebac20ec3ba611a3c5e231dc93c645ce84de",
}
_SECONDS_OF_SILENCE = 30
_BLOCK = 1 << 20


def cifar10(split: str, cache: Path, opener: Callable[..., Any] = urllib.request.urlopen) -> Path:
    """Find the parquet file of ``split`` ("train" or "test") in the folder ``cache``; download it if missing.

    Raises:
        DataError: the file cannot be downloaded, or the download does not have the checksum of CIFAR-10.
        WriteError: the file cannot be written.
        MissingPackageError: pyarrow, which reads the file, is not installed.
    """
    path = cache / "cifar10" / f"{split}.parquet"
    if path.is_file() and _sha256(path) == _SHA256[split]:
        return path
    with needed_for("Reading parquet files"):  # the error comes before the download, not after it
        import pyarrow.parquet  # noqa: F401
    make_folder(cache)
    make_folder(path.parent)
    address = f"{_FOLDER}/{split}-00000-of-00001.parquet"
    with written_whole(path) as temporary:
        with temporary.open("wb") as file:
            for block in _answer(address, opener):
                file.write(block)
        if _sha256(temporary) != _SHA256[split]:
            raise _failed(address, f"the SHA-256 of what arrived is not {_SHA256[split]}")
    return path


def _answer(address: str, opener: Callable[..., Any]) -> Iterator[bytes]:
    received = 0
    try:
        with opener(address, timeout=_SECONDS_OF_SILENCE) as answer:
            while block := answer.read(_BLOCK):
                received += len(block)
                yield block
        stated = answer.headers.get("Content-Length")
    except (OSError, http.client.HTTPException) as error:
        raise _failed(address, error) from error
    if stated is not None and int(stated) != received:
        raise _failed(address, f"{received} of {stated} bytes arrived")


def _failed(address: str, why: object) -> DataError:
    return DataError(
        f"cannot download cifar10 from {address}: {why}. Without a network, pass a folder that holds "
        "train.parquet and test.parquet (columns img and label), a folder of images by class "
        "(train/<class>/<image>), or 'digits', which needs no download"
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
