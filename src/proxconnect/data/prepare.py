"""Preparation of single images: mode, size and normalisation as a model expects them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from proxconnect.base.optional import needed_for
from proxconnect.data._decode import opened, pixels, upright
from proxconnect.data._encoded import file_content
from proxconnect.data._preprocessing import Preprocessing, preprocessing_values
from proxconnect.data.batches import normalised
from proxconnect.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image


def prepare_image(image: str | Path | Image, preprocessing: Preprocessing | Mapping[str, Any]) -> Tensor:
    """Convert, resize and normalise an image as a model expects it.

    An image that has the mode and size already gets exactly the values that `Batches` gives it.

    Args:
        image: path of an image file, or a Pillow image.
        preprocessing: a `Preprocessing`, or the mapping that a packed file carries.

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

    values = preprocessing_values(preprocessing)
    if isinstance(image, str | Path):
        picture = opened(file_content(Path(image)), str(image))
    elif isinstance(image, Image) and all(image.size):
        picture = upright(image, "the image")
    else:
        raise DataError(f"image is {image!r}; expected a path, or a Pillow image that is not empty")
    height, width = values["size"]
    array = torch.from_numpy(pixels(picture, values["mode"], (height, width)).copy())
    return normalised(array.permute(2, 0, 1).unsqueeze(0), values["mean"], values["std"])
