from __future__ import annotations

import itertools
from collections import Counter

import pytest
import torch
from looking import every

from proxconnect.data import Augmentation, ResizedCrop
from proxconnect.data.augmentation import suitable_augmentation
from proxconnect.errors import DataError


def shifted(image: torch.Tensor, top: int, left: int, pad: int, mirrored: bool) -> torch.Tensor:
    """One image (C, H, W) padded with black, cropped at (top, left), then mirrored: pixel by pixel."""
    channels, height, width = image.shape
    result = torch.zeros_like(image)
    for channel, row, column in itertools.product(range(channels), range(height), range(width)):
        source_row = row + top - pad
        source_column = (width - 1 - column if mirrored else column) + left - pad
        if 0 <= source_row < height and 0 <= source_column < width:
            result[channel, row, column] = image[channel, source_row, source_column]
    return result


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("pad", "flip"), [(2, True), (1, False), (0, True), (0, False)])
def test_each_image_is_cropped_and_flipped_as_pixel_by_pixel(
    pad: int, flip: bool, memory_format: torch.memory_format
) -> None:
    size = 400
    image = torch.randint(1, 256, (3, 5, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    batch = image.repeat(size, 1, 1, 1).contiguous(memory_format=memory_format)
    before = batch.clone()
    result = Augmentation(pad, flip)(batch, torch.Generator().manual_seed(1))

    offsets = range(2 * pad + 1)
    choices = list(itertools.product(offsets, offsets, (False, True) if flip else (False,)))
    expected = {
        tuple(shifted(image, top, left, pad, mirrored).flatten().tolist()): (top, left, mirrored)
        for top, left, mirrored in choices
    }
    assert len(expected) == len(choices), "the choices must be told apart"
    drawn = Counter(expected[tuple(one.flatten().tolist())] for one in result)
    assert set(drawn) == set(choices)
    # Each choice as often as the others: within five standard deviations of a fair draw.
    mean = size / len(choices)
    assert every(abs(count - mean) <= 5 * mean**0.5 for count in drawn.values())
    assert torch.equal(batch, before)
    assert (result.dtype, result.shape) == (batch.dtype, batch.shape)


def test_images_of_a_batch_keep_their_places() -> None:
    batch = torch.arange(1, 9, dtype=torch.uint8).view(8, 1, 1, 1).expand(8, 3, 4, 4)
    result = Augmentation(1, True)(batch, torch.Generator().manual_seed(0))
    assert [set(image.unique().tolist()) - {0} for image in result] == [{value} for value in range(1, 9)]


def test_same_generator_state_gives_the_same_augmentation() -> None:
    batch = torch.randint(256, (16, 3, 8, 8), dtype=torch.uint8)
    augment = Augmentation(2, True)
    first, again, other = (augment(batch, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("shape", "classes", "expected"),
    [
        ((3, 32, 32), ("cat", "dog"), Augmentation(4, True)),
        ((1, 8, 8), tuple("0123456789"), Augmentation(1, False)),
        ((1, 28, 28), ("shirt", "bag"), Augmentation(3, False)),
        ((3, 32, 32), tuple("0123456789"), Augmentation(4, False)),
    ],
    ids=["colour", "digits", "grey", "classes without names"],
)
def test_images_are_mirrored_only_where_that_is_harmless(
    shape: tuple[int, int, int], classes: tuple[str, ...], expected: Augmentation
) -> None:
    assert suitable_augmentation(shape, classes) == expected


def test_negative_padding_is_refused() -> None:
    with pytest.raises(DataError, match="pad is -1"):
        Augmentation(-1, True)


def grey_levels_apart(one: torch.Tensor, other: torch.Tensor) -> int:
    """Return the largest difference of two images in a pixel: resizing elsewhere rounds other floats."""
    return int((one.int() - other.int()).abs().max())


def test_a_part_is_cut_and_resized() -> None:
    """Images whose values are their columns, or their rows, show the part that was cut."""
    side, size = 256, 300
    ramp = torch.arange(side, dtype=torch.uint8)
    image = torch.stack((ramp.expand(side, side), ramp.unsqueeze(1).expand(side, side)))
    batch = image.repeat(size, 1, 1, 1)
    result = ResizedCrop()(batch, torch.Generator().manual_seed(0))
    assert (result.dtype, result.shape) == (torch.uint8, batch.shape)
    columns, rows = result[:, 0, 0].float(), result[:, 1, :, 0].float()
    widths = (columns[:, -1] - columns[:, 0]) / (side - 1)
    heights = (rows[:, -1] - rows[:, 0]) / (side - 1)
    assert (heights > 0).all()
    assert 0.4 < (widths < 0).float().mean() < 0.6
    area, ratio = widths.abs() * heights, widths.abs() / heights
    assert 0.07 < area.min() < 0.12
    assert 0.9 < area.max() <= 1
    assert area.mean() == pytest.approx(0.54, abs=0.06)
    assert 0.73 < ratio.min() < 0.8
    assert 1.25 < ratio.max() < 1.36
    assert columns.amin(dim=1).min() <= 1
    assert columns.amax(dim=1).max() >= side - 2
    assert grey_levels_apart(result[:, 0, 0], result[:, 0, -1]) <= 1


def test_the_whole_image_is_a_part_too() -> None:
    torch.manual_seed(0)
    batch = torch.randint(256, (8, 3, 9, 7), dtype=torch.uint8)
    assert torch.equal(ResizedCrop(smallest=1, flip=False)(batch, torch.Generator().manual_seed(0)), batch)
    mirrored = ResizedCrop(smallest=1)(batch, torch.Generator().manual_seed(0))
    for before, after in zip(batch, mirrored, strict=True):
        assert torch.equal(after, before) or torch.equal(after, before.flip(-1))


def test_parts_of_a_batch_are_cut_as_in_the_whole() -> None:
    torch.manual_seed(0)
    batch = torch.randint(256, (6, 3, 8, 8), dtype=torch.uint8)
    whole = ResizedCrop()(batch, torch.Generator().manual_seed(3))
    mine = slice(1, None, 2)
    alone = ResizedCrop()(batch[mine], torch.Generator().manual_seed(3), 6, mine)
    assert grey_levels_apart(alone, whole[mine]) <= 1


@pytest.mark.parametrize("smallest", [0, -1, 1.5])
def test_a_smallest_part_beyond_the_image_is_refused(smallest: float) -> None:
    with pytest.raises(DataError, match=r"smallest part is .*; expected a share of the area"):
        ResizedCrop(smallest=smallest)
