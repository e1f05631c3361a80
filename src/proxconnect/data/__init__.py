"""Image data sets (CIFAR-10, digits, parquet files, folders) and their batches, in plain torch."""

from __future__ import annotations

from proxconnect.data.augmentation import Augmentation, ResizedCrop
from proxconnect.data.batches import Batches
from proxconnect.data.images import ImageData, ImageSet
from proxconnect.data.load import load_data, load_split
from proxconnect.data.prepare import LARGEST_SIDE, check_preprocessing, prepare_image, preprocessing

__all__ = [
    "LARGEST_SIDE",
    "Augmentation",
    "Batches",
    "ImageData",
    "ImageSet",
    "ResizedCrop",
    "check_preprocessing",
    "load_data",
    "load_split",
    "prepare_image",
    "preprocessing",
]
