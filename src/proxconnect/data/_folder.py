"""Folders of images by class: train/<class>/*.png."""

from __future__ import annotations

from pathlib import Path

from proxconnect.data._encoded import EncodedImages, file_content
from proxconnect.errors import DataError

_FOLDERS = {"train": ("train",), "val": ("val", "validation"), "test": ("test",)}
_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})


def find_images(folder: Path, split: str) -> Path | None:
    """Find the folder of ``split``; None if there is no such folder."""
    return next((folder / name for name in _FOLDERS[split] if (folder / name).is_dir()), None)


def read_folder(place: Path, train: Path | None) -> EncodedImages:
    """Find the images in the class folders of ``place``.

    Labels follow the class folders of ``train``, or those of ``place`` if ``train`` is None.

    Raises:
        DataError: there are no images, or there is a class that ``train`` lacks.
    """
    classes = _class_folders(train or place)
    unknown = sorted(set(_class_folders(place)) - set(classes))
    if unknown:
        raise DataError(f"{place} has classes that {train} lacks: {', '.join(unknown)}; expected the same")
    found = [
        (path, label)
        for label, name in enumerate(classes)
        if (place / name).is_dir()
        for path in sorted((place / name).iterdir())
        if path.suffix.lower() in _SUFFIXES
    ]
    if not found:
        raise DataError(f"{place} has no images; expected <class>/<image> ({', '.join(sorted(_SUFFIXES))})")
    paths = [path for path, _ in found]
    labels = [label for _, label in found]
    return EncodedImages(lambda row: file_content(paths[row]), lambda row: str(paths[row]), labels, classes)


def expected_folder(folder: Path, split: str) -> str:
    """Name the folder that `find_images` looks for, for an error message."""
    return f"{folder / _FOLDERS[split][0]}/<class>/<image>"


def _class_folders(place: Path) -> tuple[str, ...]:
    visible = (path for path in place.iterdir() if not path.name.startswith("."))
    return tuple(sorted(path.name for path in visible if path.is_dir()))
