"""Loading of a data set by its name or path."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from proxconnect.data import _digits
from proxconnect.data._cache import cache_directory, cached_images
from proxconnect.data._decode import Form
from proxconnect.data._download import CIFAR10_CLASSES, cifar10
from proxconnect.data._encoded import EncodedImages
from proxconnect.data._folder import (
    class_folders,
    expected_folder,
    find_images,
    read_folder,
    unsplit_classes,
)
from proxconnect.data._held_out import check_share, held_out_rows, last_tenth
from proxconnect.data._hugging_face import PREFIX, Splits, find_splits, is_saved
from proxconnect.data._parquet import expected_parquet, find_parquet, read_parquet
from proxconnect.data.augmentation import suitable_augmentation
from proxconnect.data.images import ImageData, ImageSet, channel_statistics, relabelled
from proxconnect.errors import DataError, unknown_name

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

NAMES = ("cifar10", "digits")
SPLITS = ("train", "val", "test")


def load_data(
    source: str | Path | Dataset | DatasetDict,
    *,
    cache: Path | None = None,
    image_size: int | tuple[int, int] | None = None,
    val_share: float | None = None,
) -> ImageData:
    """Load images to train and validate on; the test split is never opened.

    Validation images are those of the source, if it has any. Otherwise they are the last tenth of the rows,
    which are expected in random order. Where rows are sorted by class, as in folders, they are a fixed random
    tenth of each class. Of a folder ``<class>/<image>`` they are the share ``val_share`` of each class.

    Args:
        source: ``"cifar10"`` (downloaded once), ``"digits"`` (comes with scikit-learn), or a folder: with
            ``train.parquet`` or its shards in the Hugging Face layout, or with ``train/<class>/<image>``, or
            with ``<class>/<image>``, or one that ``save_to_disk`` of the package datasets wrote. Or
            ``"hf:OWNER/NAME"`` or ``"hf:OWNER/NAME:CONFIG"`` of the Hugging Face Hub, or a ``DatasetDict``,
            or a ``Dataset``, which holds the images to train on. Of these, columns of the types ``Image``
            and ``ClassLabel`` are read.
        cache: folder for downloads and decoded images; default $PROXCONNECT_CACHE, else ~/.cache/proxconnect.
        image_size: height and width to resize all images to, one number if they are equal; default: none,
            and all images must have the same size.
        val_share: share of each class to validate on, between 0 and 1, of a folder ``<class>/<image>``. The
            choice is random and always the same. Other sources have validation images and take None.

    Raises:
        DataError: the source is unknown, missing, corrupt or not in one of these layouts, ``val_share`` does
            not fit it, or a class has too few images to be split.

    >>> data = load_data("digits")
    >>> data.classes[:3], len(data.train), len(data.val), data.train.shape
    (('0', '1', '2'), 1257, 180, (1, 8, 8))
    """
    return _load(_opened(source), cache, _form(image_size, None), val_share)


def load_split(
    source: str | Path | Dataset | DatasetDict,
    split: str,
    *,
    cache: Path | None = None,
    image_size: int | tuple[int, int] | None = None,
    mode: str | None = None,
    val_share: float | None = None,
    classes: Sequence[str] | None = None,
) -> ImageSet:
    """Load the images of one split: "train" and "val" as in `load_data`, or "test".

    The test images of a folder ``<class>/<image>`` without test/ are all of its images.

    Args:
        source: as for `load_data`.
        split: "train", "val" or "test".
        cache: as for `load_data`.
        image_size: as for `load_data`.
        mode: "RGB" or "L" (grey) to convert all images to; by default grey if all images are grey.
        val_share: as for `load_data`.
        classes: class names for the labels to index, such as those of a network; by default the source's own.
            Names of which either side has none, but numbers, are not compared.

    Raises:
        DataError: as for `load_data`, the split is unknown or missing, or an image is of a class that
            ``classes`` lacks.

    >>> len(load_split("digits", "test"))
    360
    """
    if split not in SPLITS:
        raise DataError(unknown_name("split", split, SPLITS))
    form = _form(image_size, mode)
    opened = _opened(source)
    if split == "test":
        found = _required(opened, "test", cache, form)
        images, own = found.images, found.classes
    else:
        data = _load(opened, cache, form, val_share)
        images, own = data.train if split == "train" else data.val, data.classes
    return images if classes is None else relabelled(images, own, tuple(classes), str(opened))


def without_splits(source: str, split: str) -> bool:
    """Tell whether "train" or "test" is all of a source: it is a folder ``<class>/<image>``."""
    if source in NAMES or split == "val" or source.startswith(PREFIX):
        return False
    folder = _folder(source, split)
    if is_saved(folder):
        return False
    own = find_parquet(folder, split) or find_images(folder, split)
    return not own and bool(unsplit_classes(folder))


@dataclass(frozen=True, eq=False)
class _Split:
    images: ImageSet
    classes: tuple[str, ...]
    fingerprint: str


def _form(image_size: int | tuple[int, int] | None, mode: str | None) -> Form:
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    if size is not None and min(size) < 1:
        raise DataError(f"image_size is {image_size}; expected at least 1")
    if mode not in (None, "RGB", "L"):
        raise DataError(unknown_name("mode", mode, ("RGB", "L")))
    return Form(size, mode)


def _opened(source: object) -> str | Splits:
    return find_splits(source) or str(source)


def _load(source: str | Splits, cache: Path | None, form: Form, val_share: float | None) -> ImageData:
    _check_layout(source, val_share)
    train = _required(source, "train", cache, form)
    channels, height, width = train.images.shape
    val = _read(source, "val", cache, Form(form.size, "L" if channels == 1 else "RGB"))
    fingerprint = train.fingerprint
    if val is None:
        labels = train.images.labels
        train_rows, val_rows = (
            last_tenth(labels) if val_share is None else held_out_rows(labels, val_share, train.classes)
        )
        images, held_out = train.images.subset(train_rows), train.images.subset(val_rows)
    else:
        images, held_out = train.images, val.images
        fingerprint = hashlib.sha256((train.fingerprint + val.fingerprint).encode()).hexdigest()
    if images.shape != held_out.shape:
        raise DataError(
            f"train images of {source} are {height} x {width}, val images {held_out.shape[1]} x "
            f"{held_out.shape[2]}; pass image_size (--image-size) to resize all images"
        )
    mean, std = channel_statistics(images.images)
    augmentation = suitable_augmentation(images.shape, train.classes)
    return ImageData(_name(source), train.classes, images, held_out, mean, std, augmentation, fingerprint)


def _required(source: str | Splits, split: str, cache: Path | None, form: Form) -> _Split:
    found = _read(source, split, cache, form)
    if found is None and isinstance(source, Splits):
        raise DataError(f"no {split} images: looked for {source.expected(split)}")
    if found is None:
        assert isinstance(source, str)
        folder = Path(os.path.expanduser(source))
        expected = f"{expected_parquet(folder, split)}, for {expected_folder(folder, split)}"
        if split != "val":
            expected += f", and for {folder}/<class>/<image>"
        raise DataError(f"no {split} images: looked for {expected}")
    return found


def _read(source: str | Splits, split: str, cache: Path | None, form: Form) -> _Split | None:
    """Read a split; None if the source has no such split."""
    if source == "digits":
        if form.size not in (None, (8, 8)) or form.mode not in (None, "L"):
            raise DataError("digits are grey and 8 x 8; they come in no other mode or image_size")
        scans, fingerprint = _digits.digits(split)
        return _Split(scans, _digits.CLASSES, fingerprint)

    try:
        encoded = _encoded(source, split, cache_directory(cache))
    except OSError as error:
        raise DataError(f"cannot read {source}: {error.strerror}") from error
    if encoded is None:
        return None
    fingerprint = encoded.fingerprint()
    # Images lie with channels last: crops copy this format fastest, and convolutions take it as it is.
    images = cached_images(encoded, fingerprint, form, cache_directory(cache)).permute(0, 3, 1, 2)
    return _Split(
        ImageSet(images, torch.tensor(encoded.labels, dtype=torch.int64, device="cpu")),
        encoded.classes,
        fingerprint,
    )


def _encoded(source: str | Splits, split: str, cache: Path) -> EncodedImages | None:
    if isinstance(source, Splits):
        return source.read(split)
    if source == "cifar10":
        return None if split == "val" else read_parquet([cifar10(split, cache)], CIFAR10_CLASSES)
    folder = _folder(source, split)
    if paths := find_parquet(folder, split):
        return read_parquet(paths)
    place, train, unsplit = find_images(folder, split), find_images(folder, "train"), unsplit_classes(folder)
    if place is None and not (unsplit and split != "val"):
        return None
    origin = train or (folder if unsplit else place)
    assert origin is not None
    return read_folder(place or folder, unsplit or class_folders(origin), origin)


def _folder(source: str, split: str) -> Path:
    folder = Path(os.path.expanduser(source))
    if not folder.exists():
        raise DataError(f"{unknown_name('data set', source, NAMES)}; and there is no folder {folder}")
    if not folder.is_dir():
        raise DataError(
            f"{folder} is a file; pass the folder it is in ({expected_parquet(folder.parent, split)})"
        )
    return folder


def _check_layout(source: str | Splits, val_share: float | None) -> None:
    """Refuse a share to validate on that the source lacks, or that it has no use for."""
    if isinstance(source, Splits):
        check_share(str(source), (), split=True, share=val_share)
        return
    try:
        folder = None if source in NAMES else _folder(source, "train")
        split = folder is None or bool(find_parquet(folder, "train") or find_images(folder, "train"))
        classes = () if split or folder is None else unsplit_classes(folder)
    except OSError as error:
        raise DataError(f"cannot read {source}: {error.strerror}") from error
    check_share(source, classes, split, val_share)


def _name(source: str | Splits) -> str:
    if isinstance(source, Splits):
        return source.name
    return source if source in NAMES else os.path.basename(os.path.realpath(os.path.expanduser(source)))
