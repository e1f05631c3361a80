"""Data sets of the package ``datasets``: objects, saved folders, and names of the Hugging Face Hub.

Nothing here runs code of a data set: `datasets` has had no loading scripts since version 4, and older
versions are refused.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxconnect.base.optional import needed_for
from proxconnect.data._encoded import EncodedImages, class_names, file_content
from proxconnect.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

PREFIX = "hf:"
_OLDEST = 4
_STEMS = {"train": ("train",), "val": ("validation", "val", "valid"), "test": ("test",)}
# Of several columns that fit, the first of these is taken.
_IMAGE_COLUMNS = ("image", "img")
_LABEL_COLUMNS = ("label", "fine_label", "labels")
_SAVED = ("dataset_dict.json", "state.json")  # of a DatasetDict, of a Dataset


@dataclass(frozen=True, eq=False)
class Splits:
    """The splits of a data set, by their own names.

    Args:
        source: what the user named, for messages.
        name: the name of the data set.
        parts: a ``datasets.Dataset`` for each split.
    """

    source: str
    name: str
    parts: Mapping[str, Dataset]

    def __str__(self) -> str:
        return self.source

    def read(self, split: str) -> EncodedImages | None:
        """Find images, labels and class names of "train", "val" or "test"; None if there is no such split.

        Raises:
            DataError: the split has no rows, no column of images or of labels, or a value is out of range.
        """
        own = next((name for name in _STEMS[split] if name in self.parts), None)
        return None if own is None else _read(self.parts[own], f"the split {own} of {self.source}")

    def expected(self, split: str) -> str:
        """Say which splits were looked for, and which there are, for a message."""
        return f"{' or '.join(_STEMS[split])} among the splits of {self.source}: {', '.join(self.parts)}"


def is_saved(folder: Path) -> bool:
    """Tell whether ``save_to_disk`` of a ``Dataset`` or ``DatasetDict`` wrote a folder."""
    return any(os.path.isfile(folder / name) for name in _SAVED)  # of no folder that cannot be read


def find_splits(source: object) -> Splits | None:
    """Find the splits of ``hf:NAME``, ``hf:NAME:CONFIG``, a saved folder or an object of ``datasets``.

    Returns:
        None if ``source`` is a name or a path of another kind.

    Raises:
        DataError: the data set cannot be loaded, or the object is of another class.
        MissingPackageError: the package ``datasets`` is missing, or so old that it runs code of data sets.
    """
    if not isinstance(source, str | Path):
        return _of_object(source)
    text = str(source)
    if text.startswith(PREFIX):
        return _from_hub(text)
    folder = Path(os.path.expanduser(text))
    return _from_folder(folder) if is_saved(folder) else None


def _from_hub(source: str) -> Splits:
    name, _, config = source.removeprefix(PREFIX).partition(":")
    if not name:
        raise DataError(f"{source!r} names no data set; expected hf:OWNER/NAME or hf:OWNER/NAME:CONFIG")
    datasets = _library()
    try:
        parts = datasets.load_dataset(name, config or None)
    except Exception as error:  # of the network, of the Hub, of any file format
        raise DataError(f"cannot load {source}: {_words(error)}") from error
    return Splits(source, Path(name).name, parts)


def _from_folder(folder: Path) -> Splits:
    datasets = _library()
    try:
        found = datasets.load_from_disk(str(folder))
    except Exception as error:  # a damaged folder may raise any error
        raise DataError(f"cannot read {folder}, which save_to_disk wrote: {_words(error)}") from error
    parts = found if isinstance(found, datasets.DatasetDict) else {"train": found}
    return Splits(str(folder), folder.resolve().name, parts)


def _of_object(source: object) -> Splits:
    datasets = _library()
    if isinstance(source, datasets.Dataset):
        return Splits("the Dataset", "dataset", {"train": source})
    if isinstance(source, datasets.DatasetDict):
        return Splits("the DatasetDict", "dataset", source)
    kind = f"{type(source).__module__}.{type(source).__name__}"
    raise DataError(
        f"data is of type {kind}; expected a name, a folder, a datasets.Dataset or a datasets.DatasetDict"
    )


def _read(rows: Dataset, where: str) -> EncodedImages:
    image, label = _columns(rows, where)
    if not len(rows):
        raise DataError(f"{where} has no rows; expected at least one image")
    encoded = rows.select_columns([image]).cast_column(image, _library().Image(decode=False))
    encoded = encoded.with_format("arrow")
    labels = rows.select_columns([label]).with_format("arrow")[:][label].to_pylist()

    def place(row: int) -> str:
        return f"row {row} (from 0) of {where}"

    def content(row: int) -> bytes:
        file = encoded[row][image][0].as_py()
        if file is not None and file["bytes"] is not None:
            return bytes(file["bytes"])
        if file is not None and file["path"] is not None:
            return file_content(Path(file["path"]))
        raise DataError(f"{place(row)} has no image (null); leave the row out")

    declared = tuple(getattr(rows.features[label], "names", ())) or None
    return EncodedImages(content, place, labels, class_names(labels, declared, place))


def _columns(rows: Dataset, where: str) -> tuple[str, str]:
    """Find the column of images and that of labels by the types of their features."""
    datasets = _library()
    features = rows.features
    images = [name for name, kind in features.items() if isinstance(kind, datasets.Image)]
    labels = [name for name, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    if not labels:
        labels = [name for name in _LABEL_COLUMNS if "int" in str(getattr(features.get(name), "dtype", ""))]
    chosen = _chosen(images, _IMAGE_COLUMNS), _chosen(labels, _LABEL_COLUMNS)
    if chosen[0] is None or chosen[1] is None:
        found = ", ".join(f"{name} ({type(kind).__name__})" for name, kind in features.items())
        raise DataError(
            f"{where} has the columns {found}; expected one of the type Image and one of the type ClassLabel "
            f"(or several of which one is named {' or '.join(_IMAGE_COLUMNS)}, and "
            f"{' or '.join(_LABEL_COLUMNS)}); select_columns and class_encode_column of datasets make them so"
        )
    return chosen[0], chosen[1]


def _chosen(names: list[str], preferred: tuple[str, ...]) -> str | None:
    if len(names) == 1:
        return names[0]
    return next((name for name in preferred if name in names), None)


def _library() -> Any:
    with needed_for("A data set of Hugging Face", extra="datasets"):
        import datasets
    if int(datasets.__version__.partition(".")[0]) < _OLDEST:
        raise DataError(
            f"datasets {datasets.__version__} may run code of data sets; "
            f"run: pip install 'datasets>={_OLDEST}'"
        )
    return datasets


def _words(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2]) or type(error).__name__
