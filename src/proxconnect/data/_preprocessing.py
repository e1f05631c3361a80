"""Descriptions of how an image becomes the input of a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from proxconnect.base.preprocessing import preprocessing_fault
from proxconnect.data.images import ImageData
from proxconnect.errors import DataError


@dataclass(frozen=True)
class Preprocessing:
    """The way from an image to the input of a network: ``x = (resized pixels / 255 - mean) / std``.

    A packed file carries it, and `proxconnect predict` and `proxconnect eval` apply it.

    Args:
        size: height and width of the input in pixels, each from 1 to 16,384.
        mean: one number for each channel, in units of the brightest pixel.
        std: one number for each channel, at least 1e-6.
        mode: ``"RGB"`` for three channels or ``"L"`` for one, grey.
        resize: ``"bilinear"``, the only one there is.

    Raises:
        DataError: a value is not one of these; the message names it.

    >>> Preprocessing(size=(32, 32), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)).to_dict()["mode"]
    'RGB'
    """

    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    mode: str = "RGB"
    resize: str = "bilinear"

    def __post_init__(self) -> None:
        check_preprocessing(asdict(self))

    def to_dict(self) -> dict[str, Any]:
        """Convert to JSON values, as a packed file carries them."""
        values = asdict(self)
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def preprocessing(data: ImageData) -> dict[str, Any]:
    """Describe how `Batches` prepares the images of ``data``, as JSON values that a packed file carries.

    >>> from proxconnect.data import load_data
    >>> preprocessing(load_data("digits"))
    {'mode': 'L', 'size': [8, 8], 'mean': [0.305668], 'std': [0.375494], 'resize': 'bilinear'}
    """
    channels, height, width = data.train.shape
    return {
        "mode": "RGB" if channels == 3 else "L",
        "size": [height, width],
        "mean": list(data.mean),
        "std": list(data.std),
        "resize": "bilinear",
    }


def preprocessing_values(value: Preprocessing | Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the fields of a `Preprocessing`, or a mapping of the same fields, which is checked.

    Raises:
        DataError: the mapping is refused, see `check_preprocessing`.

    >>> preprocessing_values(Preprocessing(size=(8, 8), mean=(0.5,), std=(0.25,), mode="L"))["size"]
    [8, 8]
    """
    if isinstance(value, Preprocessing):
        return value.to_dict()
    check_preprocessing(value)
    return value


def check_preprocessing(value: object) -> None:
    """Refuse a preprocessing that `prepare_image` cannot apply.

    Args:
        value: a mapping as `preprocessing` makes it; anything else is refused.

    Raises:
        DataError: a key is missing or unknown, or a value is not sensible; the message names it.

    >>> expected = {"mode": "L", "size": [8, 8], "mean": [0.5], "std": [0.25], "resize": "bilinear"}
    >>> check_preprocessing(expected)
    """
    fault = preprocessing_fault(value)
    if fault is not None:
        raise DataError(fault)
