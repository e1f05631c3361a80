"""Random crops and flips of a batch, in plain torch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from proxconnect.errors import DataError

_WHOLE = slice(None)


@dataclass(frozen=True)
class Augmentation:
    """Pad with black, crop back at a random place, mirror half of the images.

    Args:
        pad: pixels of padding on each side; the crop shifts an image by at most as many.
        flip: whether to mirror images left to right with probability 1/2.

    Raises:
        DataError: the padding is negative.

    Example:
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

        Where ``images`` are the rows ``part`` of a batch of ``batch_size``, they change as they would in it.
        """
        size, channels, height, width = images.shape
        drawn = size if batch_size is None else batch_size
        tops = torch.randint(2 * self.pad + 1, (drawn, 1), generator=generator)[part]
        lefts = torch.randint(2 * self.pad + 1, (drawn, 1), generator=generator)[part]
        mirrored = torch.rand(drawn, 1, generator=generator)[part] < (0.5 if self.flip else 0.0)

        rows = tops + torch.arange(height)
        columns = torch.arange(width)
        columns = lefts + torch.where(mirrored, columns.flip(0), columns)
        padded = functional.pad(images.permute(0, 2, 3, 1), (0, 0, self.pad, self.pad, self.pad, self.pad))
        # By places in the whole padded batch: one index_select is four times as fast as indexing by axis.
        rows = rows + torch.arange(size).unsqueeze(1) * padded.shape[1]
        places = (rows * padded.shape[2]).unsqueeze(2) + columns.unsqueeze(1)
        chosen = padded.reshape(-1, channels).index_select(0, places.flatten())
        return chosen.view(size, height, width, channels).permute(0, 3, 1, 2)


def suitable_augmentation(shape: tuple[int, int, int], classes: tuple[str, ...]) -> Augmentation:
    """The usual augmentation for images of ``shape`` (C, H, W).

    Shifts of an eighth of the size, as is usual for CIFAR. Mirrored only where that is known to be harmless:
    not grey images (characters, scans) and not classes named by numbers (digits, or names unknown).

    Example:
        >>> suitable_augmentation((3, 32, 32), ("cat", "dog"))
        Augmentation(pad=4, flip=True)
        >>> suitable_augmentation((1, 8, 8), ("0", "1"))
        Augmentation(pad=1, flip=False)
    """
    channels, height, width = shape
    named = not all(name.isdigit() for name in classes)
    return Augmentation(pad=min(height, width) // 8, flip=channels == 3 and named)
