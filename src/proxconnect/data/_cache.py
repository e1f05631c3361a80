"""Decoded images on disk, so that a data set is decoded once."""

from __future__ import annotations

import hashlib
import math
import os
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from proxconnect.base.files import make_folder, written_whole
from proxconnect.base.notice import notice
from proxconnect.base.optional import needed_for
from proxconnect.data._decode import Form, decoded
from proxconnect.data._encoded import EncodedImages
from proxconnect.errors import DataError, WriteError

# Decoded images beyond this many bytes stay on disk, and are mapped.
_LARGEST_IN_MEMORY = 16 << 30


def cache_directory(cache: Path | None) -> Path:
    """Return ``cache``, or if it is None $PROXCONNECT_CACHE, or if that is not set ~/.cache/proxconnect."""
    named = os.environ.get("PROXCONNECT_CACHE") or "~/.cache/proxconnect"
    return cache or Path(os.path.expanduser(named))


def cached_images(encoded: EncodedImages, fingerprint: str, form: Form, cache: Path) -> Tensor:
    """Decode images as `decoded` does, or read them from the folder ``cache`` if they are there already.

    A damaged file in the folder is replaced. Images that ``form`` gives a size, and that would not fit into
    memory, are mapped from their file.

    Raises:
        DataError: the images have to be mapped, and their file cannot be written.
    """
    with needed_for("Reading images"):
        import PIL

    # Decoders differ in the last bit between versions.
    key = hashlib.sha256(repr((fingerprint, form, PIL.__version__)).encode()).hexdigest()
    shape = _shape(encoded, form)
    if shape is not None and math.prod(shape) > _LARGEST_IN_MEMORY:
        return _mapped(encoded, form, shape, cache / f"images-{key[:32]}.raw")
    path = cache / f"images-{key[:32]}.safetensors"
    images = _read(path, key, len(encoded.labels))
    if images is None:
        images = decoded(encoded, form)
        try:
            make_folder(cache)
            with written_whole(path) as temporary:
                digest = torch.tensor(_digest(key, images), dtype=torch.uint8, device="cpu")
                safetensors.torch.save_file({"images": images, "digest": digest}, temporary)
        except (WriteError, safetensors.SafetensorError) as error:
            notice(
                f"decoded images are not kept and will be decoded again next time: {error}; set "
                "PROXCONNECT_CACHE to a folder that can be written"
            )
    return images


def _shape(encoded: EncodedImages, form: Form) -> tuple[int, int, int, int] | None:
    if form.size is None:
        return None
    return len(encoded.labels), *form.size, 1 if form.mode == "L" else 3


def _mapped(encoded: EncodedImages, form: Form, shape: tuple[int, int, int, int], path: Path) -> Tensor:
    size = math.prod(shape)
    if not (path.is_file() and path.stat().st_size == size):
        try:
            make_folder(path.parent)
            with written_whole(path) as temporary:
                # A mapped file cannot report a full disk, so its space is taken first.
                if hasattr(os, "posix_fallocate"):
                    with temporary.open("r+b") as stream:
                        os.posix_fallocate(stream.fileno(), 0, size)
                out = torch.from_file(str(temporary), shared=True, size=size, dtype=torch.uint8).view(shape)
                decoded(encoded, Form(form.size, form.mode or "RGB"), out)
        except WriteError as error:
            raise DataError(
                f"decoded images need {size / 1e9:.1f} GB: {error}; set PROXCONNECT_CACHE to a folder with "
                "room, or pass a smaller image_size (--image-size)"
            ) from error
    return torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8).view(shape)


def _read(path: Path, key: str, count: int) -> Tensor | None:
    try:
        # Read, not mapped: a mapped file that shrinks ends the process.
        tensors = safetensors.torch.load(path.read_bytes())
    except (OSError, safetensors.SafetensorError):
        return None
    if set(tensors) != {"images", "digest"}:
        return None
    images, digest = tensors["images"], tensors["digest"]
    if images.dtype != torch.uint8 or images.ndim != 4 or len(images) != count:
        return None
    return images if digest.tolist() == _digest(key, images) else None


def _digest(key: str, images: Tensor) -> list[int]:
    digest = hashlib.sha256(repr((key, tuple(images.shape))).encode())
    digest.update(images.numpy().data)
    return list(digest.digest())
