"""Image files and labels of a source, before decoding."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from proxconnect.base.files import content_of
from proxconnect.errors import DataError

# Far above any data set of images; keeps a corrupt label from claiming memory for its class names.
_MOST_CLASSES = 1 << 16


@dataclass(frozen=True)
class EncodedImages:
    """The image files of a source with their labels.

    ``read(i)`` returns the bytes of the i-th image file, ``where(i)`` names that file in errors.
    """

    read: Callable[[int], bytes]
    where: Callable[[int], str]
    labels: Sequence[int]
    classes: tuple[str, ...]

    def fingerprint(self) -> str:
        """Compute the SHA-256 of class names, labels and image files."""
        digest = hashlib.sha256(repr((self.classes, list(self.labels))).encode())
        for row in range(len(self.labels)):
            content = self.read(row)
            digest.update(len(content).to_bytes(8, "little"))
            digest.update(content)
        return digest.hexdigest()


def file_content(path: Path) -> bytes:
    """Read the bytes of a file.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        return content_of(path)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; expected an image file") from error


def class_names(
    labels: Sequence[int | None], declared: tuple[str, ...] | None, where: Callable[[int], str]
) -> tuple[str, ...]:
    """Name the classes of ``labels``: as declared, or "0", "1", ... where the source declares no names.

    Raises:
        DataError: a label is missing, negative or beyond the classes.
    """
    most = _MOST_CLASSES if declared is None else len(declared)
    highest = -1
    for row, label in enumerate(labels):
        if label is None:
            raise DataError(f"{where(row)} has no label (null); give each image a label or leave the row out")
        if not 0 <= label < most:
            expected = f"0 to {most - 1}" + ("" if declared is None else f", for the {most} classes declared")
            raise DataError(f"label {label} in {where(row)} is out of range; expected {expected}")
        highest = max(highest, label)
    return declared if declared is not None else tuple(str(index) for index in range(highest + 1))
