from __future__ import annotations

import numpy as np
import pytest
import torch

from proxconnect.data import ImageSet
from proxconnect.data.images import channel_statistics
from proxconnect.errors import DataError


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (torch.zeros(2, 3, 4, 4), torch.zeros(2, dtype=torch.int64), "uint8"),
        (torch.zeros(2, 4, 4, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64), "N, C, H, W"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64), "one for each image"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.zeros(2), "int64"),
        (torch.zeros(0, 3, 4, 4, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64), "empty"),
    ],
)
def test_wrong_tensors_are_refused(images: torch.Tensor, labels: torch.Tensor, words: str) -> None:
    with pytest.raises(DataError, match=words):
        ImageSet(images, labels)


def test_statistics_are_those_of_the_pixels_in_double_precision() -> None:
    images = np.random.default_rng(0).integers(0, 200, (5000, 3, 4, 5), dtype=np.uint8)
    mean, std = channel_statistics(torch.from_numpy(images))
    np.testing.assert_allclose(mean, (images / 255).mean((0, 2, 3)), atol=1e-6)
    np.testing.assert_allclose(std, (images / 255).std((0, 2, 3)), atol=1e-6)


def test_statistics_do_not_depend_on_the_order_of_images() -> None:
    images = torch.randint(256, (100, 3, 8, 8), dtype=torch.uint8)
    assert channel_statistics(images) == channel_statistics(images.flip(0))


def test_deviation_of_a_constant_channel_can_be_divided_by() -> None:
    _, std = channel_statistics(torch.full((2, 1, 3, 3), 7, dtype=torch.uint8))
    assert std == (round(1 / 255, 6),)
