"""Image data sets (CIFAR-10, digits, parquet files, folders) and their batches, in plain torch."""

from __future__ import annotations

from proxconnect.base.preprocessing import LARGEST_SIDE
from proxconnect.data._folder import find_pictures
from proxconnect.data._preprocessing import (
    Preprocessing,
    check_preprocessing,
    preprocessing,
    preprocessing_values,
)
from proxconnect.data.augmentation import Augmentation, ResizedCrop
from proxconnect.data.batches import Batches
from proxconnect.data.images import ImageData, ImageSet
from proxconnect.data.load import NAMES, load_data, load_split, without_splits
from proxconnect.data.prepare import prepare_image

__all__ = [
    "LARGEST_SIDE",
    "NAMES",
    "Augmentation",
    "Batches",
    "ImageData",
    "ImageSet",
    "Preprocessing",
    "ResizedCrop",
    "check_preprocessing",
    "find_pictures",
    "load_data",
    "load_split",
    "prepare_image",
    "preprocessing",
    "preprocessing_values",
    "without_splits",
]
