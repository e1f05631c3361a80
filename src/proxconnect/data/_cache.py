"""Decoded images on disk, so that a data set is decoded once."""

from __future__ import annotations

import hashlib
import os
import warnings
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from proxconnect._files import written_whole
from proxconnect.data._decode import Form, decoded
from proxconnect.data._encoded import EncodedImages


def cache_directory(cache: Path | None) -> Path:
    """``cache``, else $PROXCONNECT_CACHE, else ~/.cache/proxconnect."""
    return cache or Path(os.environ.get("PROXCONNECT_CACHE") or "~/.cache/proxconnect").expanduser()


def cached_images(encoded: EncodedImages, fingerprint: str, form: Form, cache: Path) -> Tensor:
    """As `decoded`, kept in folder ``cache``; a damaged file there is replaced."""
    import PIL

    # Decoders differ in the last bit between versions.
    key = hashlib.sha256(repr((fingerprint, form, PIL.__version__)).encode()).hexdigest()
    path = cache / f"images-{key[:32]}.safetensors"
    images = _read(path, key, len(encoded.labels))
    if images is None:
        images = decoded(encoded, form)
        try:
            with written_whole(path) as temporary:
                digest = torch.tensor(_digest(key, images), dtype=torch.uint8)
                safetensors.torch.save_file({"images": images, "digest": digest}, temporary)
        except (OSError, safetensors.SafetensorError) as error:
            warnings.warn(
                f"decoded images are not kept and will be decoded again next time: cannot write {path} "
                f"({error}); set PROXCONNECT_CACHE to a folder that can be written",
                stacklevel=2,
            )
    return images


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
