"""Batches for training and evaluation: shuffled, augmented, normalised."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from proxconnect.data.augmentation import Augmentation, ResizedCrop
from proxconnect.data.images import ImageSet
from proxconnect.errors import DataError

# A set of at most so many bytes lies on the device whole: ten times CIFAR-10, a hundredth of ImageNet.
_RESIDENT_BYTES = 2**31


class Batches:
    """Iterable of ``(images, labels)``: float32 (B, C, H, W), normalised, and int64 (B,).

    Order and augmentation are pure functions of (seed, epoch, batch index): a resumed run gets exactly the
    batches of an uninterrupted run. Iterating changes nothing. `set_epoch` chooses the epoch, and `set_part`
    chooses rows of every batch, so that several processes share a batch.

    Args:
        images: the decoded set.
        batch_size: images per batch; the last batch may be smaller.
        mean: mean of each channel, in units where 255 is 1.
        std: standard deviation of each channel, positive, in the same units.
        augmentation: random changes of the images; None for evaluation.
        shuffle: True gives each epoch a random order of its own.
        seed: seed of order and augmentation.
        drop_last: True leaves out a last batch that is not full.
        channels_last: True yields images in the memory format ``torch.channels_last``.

    Raises:
        DataError: the batch size is not positive or leaves no batch, or statistics do not fit the channels.

    >>> import torch
    >>> tiny = ImageSet(torch.zeros(5, 1, 8, 8, dtype=torch.uint8), torch.arange(5))
    >>> batches = Batches(tiny, 2, mean=(0.5,), std=(0.25,))
    >>> [(tuple(x.shape), float(x[0, 0, 0, 0]), y.tolist()) for x, y in batches][-1]
    ((1, 1, 8, 8), -2.0, [4])
    """

    def __init__(
        self,
        images: ImageSet,
        batch_size: int,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        augmentation: Augmentation | ResizedCrop | None = None,
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = False,
        channels_last: bool = True,
    ) -> None:
        if batch_size < 1:
            raise DataError(f"batch size is {batch_size}; expected at least 1")
        if drop_last and batch_size > len(images):
            raise DataError(
                f"batch size is {batch_size} and the set holds {len(images)} images: "
                "no full batch; choose a smaller batch size or keep the last batch"
            )
        channels = images.shape[0]
        if len(mean) != channels or len(std) != channels:
            raise DataError(f"{len(mean)} means and {len(std)} deviations for images of {channels} channels")
        if not all(deviation > 0 for deviation in std):
            raise DataError(f"std is {tuple(std)}; expected positive numbers")
        self.images = images
        self.batch_size = batch_size
        self.mean = tuple(mean)
        self.std = tuple(std)
        self.augmentation = augmentation
        self.shuffle = shuffle
        self.seed = seed
        self.drop_last = drop_last
        self.channels_last = channels_last
        self.device = images.images.device
        self.epoch = 0
        self.part, self.parts = 0, 1

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration yields."""
        self.epoch = epoch

    def set_part(self, part: int, parts: int) -> None:
        """Yield rows ``part, part + parts, ...`` of each batch, changed as they are in the whole batch.

        Raises:
            DataError: a batch has too few images for every part to have one.
        """
        smallest = len(self.images) - (len(self) - 1) * self.batch_size
        if min(smallest, self.batch_size) < parts:
            raise DataError(
                f"{len(self.images)} images in batches of {self.batch_size} leave {smallest} for the last: "
                f"too few for {parts} processes; choose another batch size"
            )
        self.part, self.parts = part, parts

    def set_device(self, device: torch.device) -> None:
        """Choose, augment and normalise the images of each batch on ``device``.

        A set of at most 2 GiB is copied to the device once. The rows of a larger set are copied batch by
        batch.
        """
        self.device = device
        if self.images.images.nbytes <= _RESIDENT_BYTES:
            self.images = self.images.to(device)

    def __len__(self) -> int:
        full, rest = divmod(len(self.images), self.batch_size)
        return full if self.drop_last or rest == 0 else full + 1

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        epoch = self.epoch
        count = len(self.images)
        order = torch.arange(count, dtype=torch.int64, device="cpu")
        if self.shuffle:
            order = torch.randperm(
                count, generator=_random(self.seed, epoch), dtype=torch.int64, device="cpu"
            )
        for index in range(len(self)):
            rows = order[index * self.batch_size : (index + 1) * self.batch_size]
            mine = slice(self.part, None, self.parts)
            chosen = self.images.subset(rows[mine]).to(self.device)
            images = chosen.images
            if self.augmentation is not None:
                images = self.augmentation(images, _random(self.seed, epoch, index), len(rows), mine)
            memory_format = torch.channels_last if self.channels_last else torch.contiguous_format
            yield (
                normalised(images, self.mean, self.std).contiguous(memory_format=memory_format),
                chosen.labels,
            )


def normalised(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Compute ``(images / 255 - mean) / std`` of uint8 images (B, C, H, W) in float32.

    Each of the three operations is rounded by itself.

    >>> import torch
    >>> normalised(torch.full((1, 1, 1, 1), 255, dtype=torch.uint8), [0.5], [0.25]).item()
    2.0
    """
    size, channels, height, width = images.shape
    # Statistics as long as an image, since broadcasting over the three channels alone is three times slower.
    pixels = images.permute(0, 2, 3, 1).reshape(size, -1).to(torch.float32).div_(255)
    pixels.sub_(pixels.new_tensor(mean).repeat(height * width))
    pixels.div_(pixels.new_tensor(std).repeat(height * width))
    return pixels.view(size, height, width, channels).permute(0, 3, 1, 2)


def _random(*key: int) -> torch.Generator:
    # A hash keeps the streams of neighbouring seeds, epochs and batches apart.
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
