from __future__ import annotations

import numpy as np
import pytest
import torch

from proxconnect.data import load_data, load_split
from proxconnect.errors import DataError


def test_splits_share_no_row_and_cover_the_set() -> None:
    from sklearn.datasets import load_digits

    data = load_data("digits")
    test = load_split("digits", "test")
    together = torch.cat([data.train.images, data.val.images, test.images]).flatten(1)
    labels = torch.cat([data.train.labels, data.val.labels, test.labels])
    source = load_digits()
    scaled = np.rint(source.data * 255 / 16).astype(np.uint8)
    assert sorted(zip(labels.tolist(), together.tolist(), strict=True)) == sorted(
        zip(source.target.tolist(), scaled.tolist(), strict=True)
    )


def test_split_is_fixed_and_holds_every_class() -> None:
    first, second = load_data("digits"), load_data("digits")
    assert torch.equal(first.val.images, second.val.images)
    assert first.fingerprint == second.fingerprint
    assert first.val.labels[:10].tolist() == [1, 9, 9, 7, 1, 8, 5, 0, 8, 7]
    for images in (first.train, first.val, load_split("digits", "test")):
        assert set(images.labels.tolist()) == set(range(10))


def test_digits_are_grey_named_by_their_value_and_never_mirrored() -> None:
    data = load_data("digits")
    assert (data.name, data.classes, data.train.shape) == ("digits", tuple("0123456789"), (1, 8, 8))
    assert (data.augmentation.pad, data.augmentation.flip) == (1, False)
    assert data.train.images.max() == 255


def test_digits_have_one_size_and_mode() -> None:
    assert load_data("digits", image_size=8).train.shape == (1, 8, 8)
    with pytest.raises(DataError, match="digits are grey and 8 x 8"):
        load_data("digits", image_size=32)
    with pytest.raises(DataError, match="digits are grey and 8 x 8"):
        load_split("digits", "test", mode="RGB")
