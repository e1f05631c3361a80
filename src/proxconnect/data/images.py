"""Decoded images in memory, with their labels, classes and statistics."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from proxconnect.data.augmentation import Augmentation, ResizedCrop
from proxconnect.errors import DataError


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Decoded images and their labels.

    Args:
        images: uint8, shape (N, C, H, W), in any memory format.
        labels: int64, shape (N,).

    Raises:
        DataError: a tensor has another dtype or shape, or the set is empty.

    >>> import torch
    >>> tiny = ImageSet(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.tensor([0, 1]))
    >>> len(tiny), tiny.shape
    (2, (3, 8, 8))
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise DataError(
                f"images are {self.images.dtype} of shape {tuple(self.images.shape)}; "
                "expected uint8 (N, C, H, W)"
            )
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise DataError(
                f"labels are {self.labels.dtype} of shape {tuple(self.labels.shape)}; "
                f"expected int64 ({len(self.images)},), one for each image"
            )
        if self.images.numel() == 0:
            raise DataError(f"the set is empty: its images have shape {tuple(self.images.shape)}")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of every image."""
        _, channels, height, width = self.images.shape
        return channels, height, width

    def subset(self, rows: Tensor) -> ImageSet:
        """Return the images at ``rows`` (int64, 1-D), in that order."""
        rows = rows.to(self.images.device)
        return ImageSet(self.images[rows], self.labels[rows])

    def to(self, device: torch.device) -> ImageSet:
        """Copy the images and labels to ``device``."""
        return ImageSet(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True, eq=False)
class ImageData:
    """A data set: images to train and to validate on, class names, statistics and augmentation.

    Args:
        name: ``"cifar10"``, ``"digits"``, or the last component of the path.
        classes: class names; a label indexes them.
        train: images to train on.
        val: images to choose hyperparameters with; never part of ``train``.
        mean: mean of the train pixels per channel, in units where 255 is 1.
        std: standard deviation of the train pixels per channel, in the same units, at least 1/255.
        augmentation: random changes that suit these images during training.
        fingerprint: SHA-256 of images, labels and class names as the source has them.
    """

    name: str
    classes: tuple[str, ...]
    train: ImageSet
    val: ImageSet
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augmentation: Augmentation | ResizedCrop
    fingerprint: str


def channel_statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Compute mean and standard deviation of uint8 images (N, C, H, W) per channel, in units where 255 is 1.

    Pixels are counted in integers, so the statistics are equal on every machine; they are rounded to six
    decimals. Of more than 100,000 images, an evenly spaced part is counted.

    >>> import torch
    >>> channel_statistics(torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1))
    ((0.5,), (0.5,))
    """
    images = images[:: max(1, len(images) // 50_000)]
    values = torch.arange(256, dtype=torch.float64, device="cpu") / 255
    means, deviations = [], []
    for channel in range(images.shape[1]):
        counts = torch.zeros(256, dtype=torch.int64, device="cpu")
        # bincount takes eight bytes for each of its one-byte inputs, so it gets the images in parts.
        for part in torch.split(images[:, channel], 4096):
            counts += torch.bincount(part.flatten(), minlength=256)
        share = counts.double() / counts.sum()
        mean = float(share @ values)
        variance = float(share @ (values - mean).square())
        means.append(round(mean, 6))
        deviations.append(round(max(variance**0.5, 1 / 255), 6))
    return tuple(means), tuple(deviations)


def relabelled(images: ImageSet, own: tuple[str, ...], classes: tuple[str, ...], source: str) -> ImageSet:
    """Return images whose labels index ``classes`` in place of the source's ``own`` names, name by name.

    Labels stay as they are where either side has no names but numbers.

    Raises:
        DataError: an image is of a class that ``classes`` lacks.

    >>> import torch
    >>> dogs = ImageSet(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.tensor([0, 0]))
    >>> relabelled(dogs, ("dog",), ("cat", "dog"), "pictures").labels
    tensor([1, 1])
    """
    if own == classes or not (_named(own) and _named(classes)):
        return images
    places = {name: label for label, name in enumerate(classes)}
    unknown = [own[label] for label in images.labels.unique().tolist() if own[label] not in places]
    if unknown:
        raise DataError(
            f"{source} has images of the class {unknown[0]!r}, which the network does not know; its classes "
            f"are {', '.join(classes[:10])}{', ...' if classes[10:] else ''}"
        )
    numbers = torch.tensor([places.get(name, -1) for name in own], dtype=torch.int64, device="cpu")
    return ImageSet(images.images, numbers[images.labels])


def _named(classes: tuple[str, ...]) -> bool:
    return classes != tuple(str(label) for label in range(len(classes)))
