"""Preparation of single images: mode, size and normalisation as a model expects them."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from proxconnect.base.optional import needed_for
from proxconnect.data._decode import opened, pixels, upright
from proxconnect.data._encoded import file_content
from proxconnect.data.batches import normalised
from proxconnect.data.images import ImageData
from proxconnect.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

_CHANNELS = {"RGB": 3, "L": 1}
_KEYS = ("mode", "size", "mean", "std", "resize")
LARGEST_SIDE = 1 << 14
"""The largest height and width of an image, in pixels."""
# Pixels lie in [0, 1]: a larger mean or a smaller deviation can only come from a corrupt file.
_LARGEST_NUMBER = 1e6
_SMALLEST_STD = 1e-6


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


def check_preprocessing(value: object) -> None:
    """Refuse a preprocessing that `prepare_image` cannot apply.

    Args:
        value: a mapping as `preprocessing` makes it; anything else is refused.

    Raises:
        DataError: a key is missing or unknown, or a value is not sensible; the message names it.

    >>> expected = {"mode": "L", "size": [8, 8], "mean": [0.5], "std": [0.25], "resize": "bilinear"}
    >>> check_preprocessing(expected)
    """
    if not isinstance(value, Mapping) or set(value) != set(_KEYS):
        keys = ", ".join(_KEYS)
        raise DataError(f"preprocessing is {reprlib.repr(value)}; expected a mapping with the keys {keys}")
    channels = _CHANNELS.get(value["mode"]) if isinstance(value["mode"], str) else None
    if channels is None:
        raise _refused("mode", value, " or ".join(map(repr, _CHANNELS)))
    if value["resize"] != "bilinear":
        raise _refused("resize", value, "'bilinear'")
    size, mean, std = value["size"], value["mean"], value["std"]
    if not (_is_list(size, 2) and all(type(side) is int and 1 <= side <= LARGEST_SIDE for side in size)):
        raise _refused("size", value, f"[height, width], each from 1 to {LARGEST_SIDE}")
    if not (_is_list(mean, channels) and all(_is_finite(number) for number in mean)):
        raise _refused("mean", value, f"a list of {channels} finite numbers")
    if not (_is_list(std, channels) and all(_is_finite(one) and one >= _SMALLEST_STD for one in std)):
        raise _refused("std", value, f"a list of {channels} numbers of at least {_SMALLEST_STD}")


def prepare_image(image: str | Path | Image, preprocessing: Mapping[str, Any]) -> Tensor:
    """Convert, resize and normalise an image as a model expects it.

    An image that has the mode and size already gets exactly the values that `Batches` gives it.

    Args:
        image: path of an image file, or a Pillow image.
        preprocessing: as `preprocessing` makes it, or as a packed file carries it.

    Returns:
        float32 (1, C, H, W).

    Raises:
        DataError: the file is missing or cannot be decoded, or the preprocessing is not sensible.

    >>> from PIL import Image
    >>> expected = {"mode": "L", "size": [8, 8], "mean": [0.5], "std": [0.25], "resize": "bilinear"}
    >>> prepare_image(Image.new("RGB", (20, 10), "white"), expected).unique()
    tensor([2.])
    """
    with needed_for("Reading images"):
        from PIL.Image import Image

    check_preprocessing(preprocessing)
    if isinstance(image, str | Path):
        picture = opened(file_content(Path(image)), str(image))
    elif isinstance(image, Image) and all(image.size):
        picture = upright(image, "the image")
    else:
        raise DataError(f"image is {image!r}; expected a path, or a Pillow image that is not empty")
    height, width = preprocessing["size"]
    array = torch.from_numpy(pixels(picture, preprocessing["mode"], (height, width)).copy())
    return normalised(array.permute(2, 0, 1).unsqueeze(0), preprocessing["mean"], preprocessing["std"])


def _is_list(value: object, length: int) -> bool:
    return isinstance(value, list | tuple) and len(value) == length


def _is_finite(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < _LARGEST_NUMBER


def _refused(key: str, value: Mapping[str, Any], expected: str) -> DataError:
    return DataError(f"preprocessing {key} is {reprlib.repr(value[key])}; expected {expected}")
