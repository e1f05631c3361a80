"""scikit-learn's handwritten digits: 1,797 scans of 8 x 8 pixels that come with the library."""

from __future__ import annotations

import hashlib

import numpy as np
import torch

from proxconnect.base.optional import needed_for
from proxconnect.data.images import ImageSet

CLASSES = tuple("0123456789")

# Rows of a fixed permutation: 1,257 to train, 180 to validate, 360 to test.
_SPLITS = {"train": slice(0, 1257), "val": slice(1257, 1437), "test": slice(1437, 1797)}


def digits(split: str) -> tuple[ImageSet, str]:
    """Read the images of ``split`` and the fingerprint of the whole set; grey levels 0..16 become 0..255."""
    with needed_for("The data set 'digits'"):
        from sklearn.datasets import load_digits

    source = load_digits()
    levels = source.images.astype(np.int64)
    images = torch.from_numpy((levels * 255 + 8) // 16).to(torch.uint8).unsqueeze(1)
    labels = torch.from_numpy(source.target.astype(np.int64))
    fingerprint = hashlib.sha256(images.numpy().tobytes() + labels.numpy().tobytes()).hexdigest()
    # RandomState's streams are frozen for good, so the split is the same with every version of numpy.
    order = torch.from_numpy(np.random.RandomState(0).permutation(len(labels)))
    return ImageSet(images, labels).subset(order[_SPLITS[split]]), fingerprint
