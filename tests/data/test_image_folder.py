from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from proxconnect.data import load_data, load_split
from proxconnect.errors import DataError

Make = Callable[..., Any]


@pytest.fixture
def add(tmp_path: Path, random_pixels: Make, encode: Make) -> Callable[..., Path]:
    """Add ``count`` random images to the folder of a class."""

    def write(split: str, name: str, count: int, size: int = 8, channels: int = 3) -> Path:
        place = tmp_path / "animals" / split / name
        place.mkdir(parents=True, exist_ok=True)
        for index, pixels in enumerate(random_pixels(count, size, size, channels)):
            (place / f"{index:03}.png").write_bytes(encode(pixels))
        return tmp_path / "animals"

    return write


def test_classes_are_the_sorted_folders_and_a_tenth_of_each_validates(add: Make) -> None:
    add("train", "dog", 20)
    folder = add("train", "cat", 30)
    (folder / "train" / "cat" / "notes.txt").write_text("not an image")
    (folder / "train" / ".hidden").mkdir()
    data = load_data(folder)
    assert (data.name, data.classes) == ("animals", ("cat", "dog"))
    assert data.train.labels.bincount().tolist() == [27, 18]
    assert data.val.labels.bincount().tolist() == [3, 2]
    assert data.augmentation.flip
    assert torch.equal(load_data(folder).val.images, data.val.images)


def test_val_folder_is_used_where_there_is_one(add: Make) -> None:
    add("train", "cat", 4)
    add("train", "dog", 3)
    folder = add("val", "dog", 2)
    data = load_data(folder)
    assert len(data.train) == 7
    # Labels follow the class folders of train, of which val has only the second.
    assert data.val.labels.tolist() == [1, 1]


def test_test_labels_follow_the_classes_of_train(add: Make) -> None:
    add("train", "cat", 2)
    add("train", "dog", 2)
    folder = add("test", "dog", 3)
    assert load_split(folder, "test").labels.tolist() == [1, 1, 1]
    add("test", "eel", 1)
    with pytest.raises(DataError, match=r"classes that .*train lacks: eel"):
        load_split(folder, "test")


def test_folder_with_test_images_alone_can_be_evaluated(add: Make) -> None:
    add("test", "cat", 1)
    folder = add("test", "dog", 2)
    assert load_split(folder, "test").labels.tolist() == [0, 1, 1]
    with pytest.raises(DataError, match="no train images"):
        load_data(folder)


def test_grey_images_stay_grey_unless_some_have_colour(add: Make) -> None:
    add("train", "cat", 2, channels=1)
    folder = add("train", "dog", 2, channels=1)
    grey = load_data(folder)
    assert grey.train.shape == (1, 8, 8)
    assert not grey.augmentation.flip
    add("train", "bee", 1, channels=4)
    colour = load_data(folder)
    assert colour.train.shape == (3, 8, 8)
    last = colour.train.images[-1]
    assert torch.equal(last[0], last[1])


def test_sizes_must_agree_or_be_given(add: Make) -> None:
    add("train", "cat", 2, size=8)
    folder = add("train", "dog", 1, size=12)
    with pytest.raises(DataError, match=r"dog.000.png is 12 x 12 .*cat.000.png is 8 x 8; .*--image-size"):
        load_data(folder)
    data = load_data(folder, image_size=10)
    assert data.train.shape == data.val.shape == (3, 10, 10)
    with pytest.raises(DataError, match="image_size is 0"):
        load_data(folder, image_size=0)


def test_val_images_must_match_train_images(add: Make) -> None:
    add("train", "cat", 2)
    folder = add("val", "cat", 2, size=9)
    with pytest.raises(DataError, match=r"train images .* are 8 x 8, val images 9 x 9; .*--image-size"):
        load_data(folder)


def test_grey_val_images_follow_the_mode_of_train(add: Make) -> None:
    add("train", "cat", 2)
    folder = add("val", "cat", 2, channels=1)
    assert load_data(folder).val.shape == (3, 8, 8)


def test_split_comes_in_the_size_and_mode_of_a_model(add: Make) -> None:
    add("train", "cat", 2, channels=1)
    folder = add("test", "cat", 2, channels=1)
    for split in ("train", "val", "test"):
        assert load_split(folder, split, image_size=(4, 6), mode="RGB").shape == (3, 4, 6)
    add("test", "cat", 3)
    assert load_split(folder, "test", mode="L").shape == (1, 8, 8)
    with pytest.raises(DataError, match="unknown mode 'CMYK'"):
        load_split(folder, "test", mode="CMYK")


def test_undecodable_image_is_named(add: Make) -> None:
    folder = add("train", "cat", 3)
    (folder / "train" / "cat" / "001.png").write_bytes(b"\x89PNG but not really")
    with pytest.raises(DataError, match=r"cannot decode .*001.png"):
        load_data(folder)


def test_folder_without_images_is_refused(add: Make) -> None:
    folder = add("train", "cat", 0)
    with pytest.raises(DataError, match=r"no images; expected <class>/<image>"):
        load_data(folder)


def test_renamed_class_changes_the_fingerprint(add: Make) -> None:
    folder = add("train", "cat", 3)
    first = load_data(folder).fingerprint
    (folder / "train" / "cat").rename(folder / "train" / "lynx")
    assert load_data(folder).fingerprint != first


@pytest.fixture
def unsplit(add: Make) -> Path:
    """Make a folder <class>/<image> with 10 cats and 5 dogs, and a folder without pictures."""
    for name, count in (("cat", 10), ("dog", 5)):
        add(".", name, count)
    (add(".", "dog", 5) / "notes").mkdir()
    return add(".", "cat", 10)


def test_a_folder_of_classes_is_split_by_class_and_always_alike(unsplit: Path) -> None:
    data = load_data(unsplit, val_share=0.2)
    assert data.classes == ("cat", "dog")
    assert data.train.labels.bincount().tolist() == [8, 4]
    assert data.val.labels.bincount().tolist() == [2, 1]
    again = load_split(unsplit, "val", val_share=0.2)
    assert torch.equal(again.images, data.val.images)
    both = torch.cat([data.train.images, data.val.images]).flatten(1)
    assert len(both.unique(dim=0)) == 15
    # Each class has at least one image in either part, whatever the share.
    for share, counts in ((0.01, [1, 1]), (0.99, [9, 4])):
        assert load_split(unsplit, "val", val_share=share).labels.bincount().tolist() == counts


def test_a_folder_of_classes_without_a_share_says_how_to_split_it(unsplit: Path) -> None:
    with pytest.raises(
        DataError, match=r"has pictures by class \(cat, dog\) and no train/: pass --split 0.2"
    ):
        load_data(unsplit)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.2, 20.0, float("nan")])
def test_a_share_is_between_0_and_1(share: float, unsplit: Path) -> None:
    with pytest.raises(DataError, match="expected a share between 0 and 1"):
        load_data(unsplit, val_share=share)


def test_a_class_of_one_picture_cannot_be_split(unsplit: Path, add: Make) -> None:
    add(".", "eel", 1)
    with pytest.raises(DataError, match="the class 'eel' has one picture; --split needs two of each class"):
        load_data(unsplit, val_share=0.2)


def test_a_share_is_refused_where_images_are_set_apart(unsplit: Path, add: Make) -> None:
    with pytest.raises(DataError, match="set apart already: leave it out"):
        load_data("digits", val_share=0.2)
    with pytest.raises(DataError, match="there is no folder"):
        load_data(unsplit / "mistyped", val_share=0.2)
    (unsplit / "empty").mkdir()
    with pytest.raises(DataError, match=r"no train images: looked for .*empty/<class>/<image>"):
        load_data(unsplit / "empty", val_share=0.2)
    add("train", "cat", 2)
    with pytest.raises(DataError, match="set apart already: leave it out"):
        load_data(unsplit, val_share=0.2)


def test_all_images_of_a_folder_of_classes_can_be_evaluated(unsplit: Path, add: Make) -> None:
    assert len(load_split(unsplit, "test")) == 15
    add("test", "dog", 3)  # test/ is no class, and has the classes of the folder
    assert load_split(unsplit, "test").labels.tolist() == [1, 1, 1]
    assert load_data(unsplit, val_share=0.2).classes == ("cat", "dog")


def test_labels_follow_the_names_of_a_networks_classes(add: Make) -> None:
    add("test", "cat", 1)
    folder = add("test", "dog", 2)
    wanted = ("ant", "dog", "bee", "cat")
    assert load_split(folder, "test", classes=wanted).labels.tolist() == [3, 1, 1]
    assert load_split(folder, "test", classes=("0", "1")).labels.tolist() == [0, 1, 1]  # numbers are no names
    with pytest.raises(DataError, match="images of the class 'dog', which the network does not know"):
        load_split(folder, "test", classes=("cat", "ant"))
