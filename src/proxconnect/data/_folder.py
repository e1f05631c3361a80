"""Folders of images by class: train/<class>/*.png, or <class>/*.png."""

from __future__ import annotations

from pathlib import Path

from proxconnect.data._encoded import EncodedImages, file_content
from proxconnect.errors import DataError

_FOLDERS = {"train": ("train",), "val": ("val", "validation"), "test": ("test",)}
PICTURES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})


def find_images(folder: Path, split: str) -> Path | None:
    """Find the folder of ``split``; None if there is no such folder."""
    return next((folder / name for name in _FOLDERS[split] if (folder / name).is_dir()), None)


def class_folders(place: Path) -> tuple[str, ...]:
    """Name the class folders in ``place``, sorted."""
    visible = (path for path in place.iterdir() if not path.name.startswith("."))
    return tuple(sorted(path.name for path in visible if path.is_dir()))


def unsplit_classes(folder: Path) -> tuple[str, ...]:
    """Name the classes of a folder ``<class>/<image>`` that has neither train/ nor val/; else return none.

    Folders without pictures are no classes, and test/ is none.
    """
    if find_images(folder, "train") or find_images(folder, "val"):
        return ()
    names = (name for name in class_folders(folder) if name not in _FOLDERS["test"])
    return tuple(name for name in names if any(map(is_picture, (folder / name).iterdir())))


def is_picture(path: Path) -> bool:
    """Tell whether the name of a file is that of a picture."""
    return path.suffix.lower() in PICTURES and not path.name.startswith(".")


def find_pictures(path: Path) -> list[Path]:
    """List the pictures in the folder ``path`` and in its folders, sorted; a file is listed as it is.

    Raises:
        DataError: the folder has no pictures, or it cannot be read.
    """
    if not path.is_dir():
        return [path]
    try:
        found = sorted(file for file in path.rglob("*") if is_picture(file) and file.is_file())
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    if not found:
        raise DataError(f"no pictures in {path}; expected files that end in {', '.join(sorted(PICTURES))}")
    return found


def read_folder(place: Path, classes: tuple[str, ...], origin: Path) -> EncodedImages:
    """Find the images in the folders of ``place`` that ``classes`` name; labels index ``classes``.

    Args:
        place: the folder of the class folders.
        classes: the classes.
        origin: the folder that has these classes. If it is another one, ``place`` has to have no more.

    Raises:
        DataError: there are no images, or there is a class that ``origin`` lacks.
    """
    unknown = [] if place == origin else sorted(set(class_folders(place)) - set(classes))
    if unknown:
        raise DataError(f"{place} has classes that {origin} lacks: {', '.join(unknown)}; expected the same")
    found = [
        (path, label)
        for label, name in enumerate(classes)
        if (place / name).is_dir()
        for path in sorted((place / name).iterdir())
        if is_picture(path)
    ]
    if not found:
        raise DataError(f"{place} has no images; expected <class>/<image> ({', '.join(sorted(PICTURES))})")
    paths = [path for path, _ in found]
    labels = [label for _, label in found]
    return EncodedImages(lambda row: file_content(paths[row]), lambda row: str(paths[row]), labels, classes)


def expected_folder(folder: Path, split: str) -> str:
    """Name the folder that `find_images` looks for, for an error message."""
    return f"{folder / _FOLDERS[split][0]}/<class>/<image>"
