from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from looking import every, some

from proxconnect.data import Augmentation, Batches, ImageSet
from proxconnect.data import batches as batches_module
from proxconnect.data.augmentation import ResizedCrop
from proxconnect.errors import DataError

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


def numbered(count: int) -> ImageSet:
    """Random images whose labels are their row numbers."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, 3, 8, 8), dtype=torch.uint8, generator=generator)
    return ImageSet(images, torch.arange(count))


def batches(count: int = 50, size: int = 8, **options: Any) -> Batches:
    return Batches(numbered(count), size, mean=MEAN, std=STD, **options)


def order(source: Batches) -> list[int]:
    return torch.cat([labels for _, labels in source]).tolist()


@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 40), size=st.integers(1, 45), shuffle=st.booleans(), epoch=st.integers(0, 3))
def test_each_epoch_shows_every_image_once(count: int, size: int, shuffle: bool, epoch: int) -> None:
    source = batches(count, size, shuffle=shuffle)
    source.set_epoch(epoch)
    sizes = [len(labels) for _, labels in source]
    assert len(sizes) == len(source)
    assert sizes[:-1] == [size] * (len(sizes) - 1)
    assert sorted(order(source)) == list(range(count))


def test_unshuffled_batches_keep_the_order() -> None:
    assert order(batches()) == list(range(50))


def test_order_depends_on_seed_and_epoch_alone() -> None:
    source = batches(shuffle=True, seed=5)
    first = order(source)
    assert order(source) == first
    source.set_epoch(1)
    second = order(source)
    assert second != first

    resumed = batches(shuffle=True, seed=5)
    resumed.set_epoch(1)
    assert order(resumed) == second
    assert order(batches(shuffle=True, seed=6)) != first
    # Neighbours on the diagonal of (seed, epoch) must not share their draws either.
    assert order(batches(shuffle=True, seed=6)) != second


def test_batches_belong_to_the_epoch_that_was_set_when_iteration_began() -> None:
    source = batches(shuffle=True)
    expected = order(source)
    iterator = iter(source)
    seen = next(iterator)[1].tolist()
    source.set_epoch(7)
    seen += torch.cat([labels for _, labels in iterator]).tolist()
    assert seen == expected


def test_augmentation_depends_on_seed_epoch_and_batch_alone() -> None:
    options: dict[str, Any] = {"augmentation": Augmentation(2, True), "seed": 3}
    source = batches(**options)
    first = [images for images, _ in source]
    again = [images for images, _ in batches(**options)]
    assert every(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    source.set_epoch(1)
    assert every(not torch.equal(a, images) for a, (images, _) in zip(first, source, strict=True))

    same = ImageSet(numbered(1).images.repeat(16, 1, 1, 1), torch.arange(16))
    one, other = Batches(same, 8, mean=MEAN, std=STD, augmentation=Augmentation(2, True))
    assert not torch.equal(one[0], other[0])


def test_images_go_with_their_labels() -> None:
    data = numbered(20)
    for images, labels in some(batches(20, 6, shuffle=True)):
        plain = (data.images[labels].float() / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(
            STD
        ).view(3, 1, 1)
        assert torch.equal(images, plain)


@pytest.mark.parametrize("augmentation", [None, Augmentation(1, True)])
@pytest.mark.parametrize("channels_last", [True, False])
def test_images_are_float32_in_the_memory_format_asked_for(
    channels_last: bool, augmentation: Augmentation | None
) -> None:
    images, labels = next(iter(batches(channels_last=channels_last, augmentation=augmentation)))
    assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
    assert images.shape == (8, 3, 8, 8)
    expected = torch.channels_last if channels_last else torch.contiguous_format
    assert images.is_contiguous(memory_format=expected)


def test_values_do_not_depend_on_memory_formats() -> None:
    data = numbered(8)
    stored_last = ImageSet(data.images.contiguous(memory_format=torch.channels_last), data.labels)
    results = [
        next(
            iter(
                Batches(images, 8, mean=MEAN, std=STD, augmentation=Augmentation(1, True), channels_last=last)
            )
        )
        for images in (data, stored_last)
        for last in (True, False)
    ]
    assert every(torch.equal(results[0][0], images) for images, _ in results)


def test_drop_last_leaves_out_the_batch_that_is_not_full() -> None:
    source = batches(50, 8, drop_last=True)
    assert len(source) == 6
    assert [len(labels) for _, labels in source] == [8] * 6


def test_iterating_leaves_the_images_and_global_random_state_alone() -> None:
    data = numbered(10)
    before = data.images.clone()
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    for _ in Batches(data, 4, mean=MEAN, std=STD, shuffle=True, augmentation=Augmentation(1, True)):
        pass
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(data.images, before)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 0}, "batch size is 0"),
        ({"count": 4, "size": 8, "drop_last": True}, "no full batch"),
    ],
)
def test_useless_batch_sizes_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        batches(**options)


@pytest.mark.parametrize(
    ("mean", "std", "words"),
    [
        ((0.5,), STD, "1 means and 3 deviations"),
        (MEAN, (0.2, 0.0, 0.2), "positive"),
        (MEAN, (float("nan"),) * 3, "positive"),
    ],
)
def test_statistics_that_do_not_fit_are_refused(
    mean: tuple[float, ...], std: tuple[float, ...], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        Batches(numbered(4), 2, mean=mean, std=std)


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_parts_of_a_batch_are_its_rows_changed_as_in_the_whole(parts: int) -> None:
    options = {"augmentation": Augmentation(pad=2, flip=True), "shuffle": True}
    shared = [batches(23, 10, **options) for _ in range(parts)]
    for part, each in enumerate(shared):
        each.set_part(part, parts)
    for (images, labels), *rows in some(zip(batches(23, 10, **options), *shared, strict=True)):
        for part, (inputs, answers) in enumerate(rows):
            assert torch.equal(inputs, images[part::parts])
            assert torch.equal(answers, labels[part::parts])


def test_refuses_parts_without_an_image() -> None:
    words = "21 images in batches of 10 leave 1 for the last: too few for 2 processes"
    with pytest.raises(DataError, match=words):
        batches(21, 10).set_part(0, 2)


@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("augmentation", [Augmentation(pad=1, flip=True), ResizedCrop(), None], ids=str)
def test_batches_are_made_on_their_device(
    augmentation: Augmentation | ResizedCrop | None, resident: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches_module, "_RESIDENT_BYTES", 2**31 if resident else 0)
    expected = batches(20, 8, augmentation=augmentation, shuffle=True)
    source = batches(20, 8, augmentation=augmentation, shuffle=True)
    # The meta device refuses operations with tensors of another one, and is there on every machine.
    source.set_device(torch.device("meta"))
    assert source.images.images.is_meta == resident
    for (images, labels), (other_images, other_labels) in zip(source, expected, strict=True):
        assert images.is_meta
        assert labels.is_meta
        assert images.shape == other_images.shape
        assert images.stride() == other_images.stride()
        assert labels.shape == other_labels.shape
