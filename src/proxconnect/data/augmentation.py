"""Random crops and flips of a batch, in plain torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from proxconnect.errors import DataError

_WHOLE = slice(None)
# Images with sides of at least so many pixels are treated as those of ImageNet.
_LARGE = 128


@dataclass(frozen=True)
class Augmentation:
    """Pad with black, crop back at a random place, mirror half of the images.

    Args:
        pad: pixels of padding on each side; the crop shifts an image by at most as many.
        flip: True mirrors images left to right with probability 1/2.

    Raises:
        DataError: the padding is negative.

    >>> import torch
    >>> batch = torch.arange(9, dtype=torch.uint8).view(1, 1, 3, 3)
    >>> Augmentation(pad=1, flip=False)(batch, torch.Generator().manual_seed(0)).shape
    torch.Size([1, 1, 3, 3])
    """

    pad: int
    flip: bool

    def __post_init__(self) -> None:
        if self.pad < 0:
            raise DataError(f"augmentation pad is {self.pad}; expected 0 or more pixels")

    def __call__(
        self,
        images: Tensor,
        generator: torch.Generator,
        batch_size: int | None = None,
        part: slice = _WHOLE,
    ) -> Tensor:
        """Augment ``images`` (B, C, H, W), each on its own; dtype and shape stay.

        If ``images`` are the rows ``part`` of a batch of ``batch_size``, they change as in the whole batch.
        """
        size, channels, height, width = images.shape
        drawn = size if batch_size is None else batch_size
        # Drawn on the CPU, so that a batch is the same on every device.
        tops = torch.randint(
            2 * self.pad + 1, (drawn, 1), generator=generator, dtype=torch.int64, device="cpu"
        )[part]
        lefts = torch.randint(
            2 * self.pad + 1, (drawn, 1), generator=generator, dtype=torch.int64, device="cpu"
        )[part]
        mirrored = torch.rand(drawn, 1, generator=generator, dtype=torch.float32, device="cpu")[part] < (
            0.5 if self.flip else 0.0
        )
        tops, lefts, mirrored = (numbers.to(images.device) for numbers in (tops, lefts, mirrored))

        rows = tops + torch.arange(height, dtype=torch.int64, device=images.device)
        columns = torch.arange(width, dtype=torch.int64, device=images.device)
        columns = lefts + torch.where(mirrored, columns.flip(0), columns)
        padded = functional.pad(images.permute(0, 2, 3, 1), (0, 0, self.pad, self.pad, self.pad, self.pad))
        # Indices into the whole padded batch: one index_select is four times as fast as indexing by axis.
        rows = (
            rows + torch.arange(size, dtype=torch.int64, device=images.device).unsqueeze(1) * padded.shape[1]
        )
        places = (rows * padded.shape[2]).unsqueeze(2) + columns.unsqueeze(1)
        chosen = padded.reshape(-1, channels).index_select(0, places.flatten())
        return chosen.view(size, height, width, channels).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class ResizedCrop:
    """Cut a random part of each image, resize it to the whole's size, mirror half of the images.

    The usual augmentation for ImageNet (Szegedy et al. 2014, arXiv 1409.4842, section 6).

    Args:
        smallest: least area of the part, as a share of the image's area; shares are uniform from there to 1.
        flip: True mirrors images left to right with probability 1/2.

    Raises:
        DataError: the share is not positive and at most 1.

    >>> import torch
    >>> batch = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    >>> ResizedCrop()(batch, torch.Generator().manual_seed(0)).shape
    torch.Size([1, 1, 16, 16])
    """

    smallest: float = 0.08
    flip: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.smallest <= 1:
            raise DataError(
                f"smallest part is {self.smallest}; expected a share of the area, above 0, at most 1"
            )

    def __call__(
        self,
        images: Tensor,
        generator: torch.Generator,
        batch_size: int | None = None,
        part: slice = _WHOLE,
    ) -> Tensor:
        """Augment ``images`` uint8 (B, C, H, W) as :class:`Augmentation` does."""
        drawn = len(images) if batch_size is None else batch_size
        area, ratio, top, left, mirror = torch.rand(
            5, drawn, generator=generator, dtype=torch.float32, device="cpu"
        )[:, part].to(images.device)
        area = self.smallest + (1 - self.smallest) * area
        # The ratio of width to height, uniform in its logarithm from 3/4 to 4/3, as far as it fits the image.
        stretch = torch.exp((ratio - 0.5) * math.log(4 / 3)).clamp(area.sqrt(), 1 / area.sqrt())
        height, width = area.sqrt() / stretch, area.sqrt() * stretch
        # Centre and half size of the part, in the coordinates of grid_sample: the image runs from -1 to 1.
        down, right = (2 * top - 1) * (1 - height), (2 * left - 1) * (1 - width)
        mirrored = 1 - 2 * (mirror < (0.5 if self.flip else 0.0)).to(area.dtype)
        zero = torch.zeros_like(area)
        rows = torch.stack((width * mirrored, zero, right, zero, height, down), dim=1).view(-1, 2, 3)
        grid = functional.affine_grid(rows, list(images.shape), align_corners=False)
        parts = functional.grid_sample(
            images.float(), grid, mode="bilinear", padding_mode="border", align_corners=False
        )
        return parts.round_().to(torch.uint8)


def suitable_augmentation(
    shape: tuple[int, int, int], classes: tuple[str, ...]
) -> Augmentation | ResizedCrop:
    """Choose the usual augmentation for images of ``shape`` (C, H, W).

    Images with sides of at least 128 pixels are cut at random, as is usual for ImageNet. Smaller images are
    shifted by up to an eighth of their size, as is usual for CIFAR. Images are mirrored where that is
    harmless: neither grey images (characters, scans) nor classes named by numbers (digits, or no names).

    >>> suitable_augmentation((3, 32, 32), ("cat", "dog"))
    Augmentation(pad=4, flip=True)
    >>> suitable_augmentation((1, 8, 8), ("0", "1"))
    Augmentation(pad=1, flip=False)
    >>> suitable_augmentation((3, 224, 224), ("cat", "dog"))
    ResizedCrop(smallest=0.08, flip=True)
    """
    channels, height, width = shape
    flip = channels == 3 and not all(name.isdigit() for name in classes)
    if min(height, width) >= _LARGE:
        return ResizedCrop(flip=flip)
    return Augmentation(pad=min(height, width) // 8, flip=flip)
