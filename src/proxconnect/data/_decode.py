"""Decoding of image files by Pillow."""

from __future__ import annotations

import io
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from proxconnect.base.optional import needed_for
from proxconnect.data._encoded import EncodedImages
from proxconnect.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

# Raster formats only: Pillow hands some others, such as EPS, to outside programs.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV")


@dataclass(frozen=True)
class Form:
    """The size and mode that images are converted to.

    Args:
        size: height and width in pixels; None keeps the size of the images, which has to be the same for all.
        mode: "RGB" or "L" (grey); None stands for "L" if all images are grey, else for "RGB".
    """

    size: tuple[int, int] | None = None
    mode: str | None = None


def opened(content: bytes, where: str) -> Image:
    """Decode an image file; ``where`` names it in errors.

    Raises:
        DataError: the file cannot be decoded, or `upright` refuses the image.
    """
    with needed_for("Reading images"):
        from PIL import Image

    try:
        image = Image.open(io.BytesIO(content), formats=_FORMATS)
    except Exception as error:
        raise _undecodable(where, error) from error
    return upright(image, where)


def upright(image: Image, where: str) -> Image:
    """Decode ``image`` fully and turn it as its EXIF orientation says.

    Raises:
        DataError: the data of the image is corrupt, or its pixels are not of 8 bits per channel.
    """
    with needed_for("Reading images"):
        from PIL import ImageOps

    try:
        image.load()
        image = ImageOps.exif_transpose(image)
    except Exception as error:
        raise _undecodable(where, error) from error
    if image.mode not in _MODES:
        # Pillow clips deeper pixels to 255 rather than scale them.
        raise DataError(f"{where} has pixels of mode {image.mode!r}; convert it to RGB or grey of 8 bits")
    return image


def pixels(image: Image, mode: str, size: tuple[int, int]) -> np.ndarray:
    """Convert an image to ``mode`` ("RGB" or "L") and uint8 (H, W, C), resized to ``size`` (H, W)."""
    with needed_for("Reading images"):
        from PIL import Image

    height, width = size
    converted = image if image.mode == mode else image.convert(mode)
    if converted.size != (width, height):
        converted = converted.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(converted).reshape(height, width, -1)


def decoded(encoded: EncodedImages, form: Form, out: Tensor | None = None) -> Tensor:
    """Decode all images and convert them to ``form``; returns uint8 (N, H, W, C), in ``out`` if given.

    Raises:
        DataError: an image cannot be decoded, or the images differ in size and ``form`` has none.
    """
    count = len(encoded.labels)
    first = opened(encoded.read(0), encoded.where(0))
    size = form.size or (first.height, first.width)
    images = out
    if images is None:
        images = torch.empty(count, *size, 1 if form.mode == "L" else 3, dtype=torch.uint8, device="cpu")
    target = images.numpy()

    def decode(rows: range) -> bool:
        grey = True
        for row in rows:
            image = opened(encoded.read(row), encoded.where(row))
            if form.size is None and (image.height, image.width) != size:
                raise DataError(
                    f"{encoded.where(row)} is {image.height} x {image.width} and {encoded.where(0)} is "
                    f"{size[0]} x {size[1]}; pass image_size (--image-size) to resize all images"
                )
            target[row] = pixels(image, form.mode or "RGB", size)
            grey = grey and image.mode in ("1", "L")
        return grey

    parts = [range(start, min(start + 256, count)) for start in range(0, count, 256)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        all_grey = all(list(pool.map(decode, parts)))
    return images[..., :1].contiguous() if form.mode is None and all_grey else images


def _undecodable(where: str, error: Exception) -> DataError:
    # Callers catch every Exception: Pillow's decoders raise whatever corrupt bytes lead them to.
    return DataError(f"cannot decode {where}: {error}; expected an image ({', '.join(_FORMATS)})")
