from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from proxconnect.data import (
    Batches,
    check_preprocessing,
    load_data,
    load_split,
    prepare_image,
    preprocessing,
)
from proxconnect.errors import DataError

Make = Callable[..., Any]

COLOUR: dict[str, Any] = {
    "mode": "RGB",
    "size": [8, 8],
    "mean": [0.49, 0.48, 0.45],
    "std": [0.25, 0.24, 0.26],
    "resize": "bilinear",
}


def values(pixels: np.ndarray) -> torch.Tensor:
    """Normalise pixels (H, W, C) by the formula of `COLOUR`."""
    image = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
    return ((image - torch.tensor(COLOUR["mean"]).view(3, 1, 1)) / torch.tensor(COLOUR["std"]).view(3, 1, 1))[
        None
    ]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_image_of_the_right_size_gets_exactly_the_values_of_a_batch(
    tmp_path: Path, write_parquet: Make, random_pixels: Make, encode: Make, channels: int, kind: str
) -> None:
    files = [encode(pixels, kind) for pixels in random_pixels(4, 8, 12, channels)]
    write_parquet(tmp_path / "set" / "train.parquet", files, [1, 0, 1, 0])
    data = load_data(tmp_path / "set")
    expected = preprocessing(data)
    assert (expected["mode"], expected["size"]) == ({1: "L", 3: "RGB"}[channels], [8, 12])
    ((images, _),) = Batches(load_split(tmp_path / "set", "train"), 8, mean=data.mean, std=data.std)
    for file, image in zip(files, images, strict=False):
        path = tmp_path / "image"
        path.write_bytes(file)
        assert torch.equal(prepare_image(path, expected)[0], image)
        assert torch.equal(prepare_image(str(path), expected)[0], image)
        assert torch.equal(prepare_image(Image.open(path), expected)[0], image)


@pytest.mark.parametrize("channels", [1, 3])
def test_image_of_another_size_is_resized_as_in_training(
    tmp_path: Path, random_pixels: Make, encode: Make, channels: int
) -> None:
    place = tmp_path / "set" / "train" / "cat"
    place.mkdir(parents=True)
    for index, pixels in enumerate(random_pixels(3, 20, 14, channels)):
        (place / f"{index}.png").write_bytes(encode(pixels))
    data = load_data(tmp_path / "set", image_size=8)
    everything = [data.train, data.val]
    batch = torch.cat(
        [images for one in everything for images, _ in Batches(one, 8, mean=data.mean, std=data.std)]
    )
    prepared = torch.cat([prepare_image(path, preprocessing(data)) for path in sorted(place.iterdir())])
    assert sorted(batch.flatten(1).tolist()) == sorted(prepared.flatten(1).tolist())


def test_resizing_is_bilinear(random_pixels: Make) -> None:
    image = Image.fromarray(random_pixels(1, 19, 5)[0])
    resized = np.array(image.resize((8, 8), Image.Resampling.BILINEAR))
    assert torch.equal(prepare_image(image, COLOUR), values(resized))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr"])
def test_other_modes_are_converted(mode: str, random_pixels: Make) -> None:
    image = Image.fromarray(random_pixels(1)[0]).convert(mode)
    before = image.tobytes()
    assert torch.equal(prepare_image(image, COLOUR), values(np.array(image.convert("RGB"))))
    assert (image.mode, image.tobytes()) == (mode, before)


def test_orientation_of_photographs_is_respected(tmp_path: Path, random_pixels: Make) -> None:
    pixels = random_pixels(1)[0]
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by half
    Image.fromarray(pixels).save(tmp_path / "photo.png", exif=exif)
    assert torch.equal(prepare_image(tmp_path / "photo.png", COLOUR), values(pixels[::-1, ::-1].copy()))


@pytest.mark.parametrize("mode", ["I;16", "I", "F", "LAB"])
def test_modes_that_conversion_would_spoil_are_refused(mode: str) -> None:
    with pytest.raises(DataError, match=f"mode '{mode}'; convert it"):
        prepare_image(Image.new(mode, (8, 8)), COLOUR)


def test_missing_and_corrupt_files_are_refused(tmp_path: Path, random_pixels: Make, encode: Make) -> None:
    with pytest.raises(DataError, match=r"cannot read .*absent.png: No such file"):
        prepare_image(tmp_path / "absent.png", COLOUR)
    with pytest.raises(DataError, match="cannot read"):
        prepare_image(tmp_path, COLOUR)
    path = tmp_path / "image.jpg"
    path.write_bytes(encode(random_pixels(1, 64, 64)[0], "JPEG")[:-200])
    with pytest.raises(DataError, match=r"cannot decode .*image.jpg: .*truncated"):
        prepare_image(path, COLOUR)
    with Image.open(path) as image, pytest.raises(DataError, match=r"cannot decode the image: .*truncated"):
        prepare_image(image, COLOUR)


@pytest.mark.parametrize("kind", ["EPS", "SGI"])
def test_formats_beyond_the_usual_ones_are_not_tried(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "image"
    Image.new("RGB", (8, 8)).save(path, kind)
    with pytest.raises(DataError, match=r"cannot decode .*image: .*expected an image \(BMP, "):
        prepare_image(path, COLOUR)


@pytest.mark.parametrize("image", [None, 3, torch.zeros(3, 8, 8), Image.new("RGB", (0, 8))])
def test_what_is_no_image_is_refused(image: Any) -> None:
    with pytest.raises(DataError, match="expected a path, or a Pillow image"):
        prepare_image(image, COLOUR)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mode": "CMYK"}, "mode is 'CMYK'; expected 'RGB' or 'L'"),
        ({"mode": ["RGB"]}, "mode is"),
        ({"size": [8]}, "size is"),
        ({"size": [0, 8]}, "size is"),
        ({"size": [8, 1 << 40]}, "size is"),
        ({"size": [8.0, 8.0]}, "size is"),
        ({"size": [True, True]}, "size is"),
        ({"size": "88"}, "size is"),
        ({"mean": [0.5]}, "mean is .*3 finite"),
        ({"mean": [0.5, 0.5, float("nan")]}, "mean is"),
        ({"mean": [0.5, 0.5, 10**400]}, "mean is"),
        ({"mean": [0.5, 0.5, "0.5"]}, "mean is"),
        ({"mean": None}, "mean is"),
        ({"std": [0.2, 0.2, 0.0]}, "std is"),
        ({"std": [0.2, 0.2, -1.0]}, "std is"),
        ({"std": [0.2, 0.2, float("inf")]}, "std is"),
        ({"resize": "nearest"}, "resize is 'nearest'; expected 'bilinear'"),
        ({"crop": 4}, "expected a mapping with the keys mode, size, mean, std, resize"),
    ],
)
def test_preprocessing_that_makes_no_sense_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=f"preprocessing.*{words}"):
        prepare_image(Image.new("RGB", (8, 8)), COLOUR | change)


@pytest.mark.parametrize("key", list(COLOUR))
def test_preprocessing_that_lacks_a_key_is_refused(key: str) -> None:
    with pytest.raises(DataError, match="expected a mapping with the keys"):
        check_preprocessing({name: value for name, value in COLOUR.items() if name != key})
    with pytest.raises(DataError, match="expected a mapping"):
        check_preprocessing([key])


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=3)
    | st.sampled_from(["L", "bilinear"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(list(COLOUR)), inner, max_size=5)
    ),
    max_leaves=8,
)


@given(change=st.dictionaries(st.sampled_from(list(COLOUR)), json_values, max_size=2))
def test_any_json_is_applied_or_refused(change: dict[str, Any]) -> None:
    try:
        check_preprocessing(COLOUR | change)
    except DataError:
        return
    accepted = COLOUR | change | {"size": [4, 4]}
    result = prepare_image(Image.new("RGB", (8, 8)), accepted)
    assert result.isfinite().all()


def encoded(kind: str) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


@pytest.mark.filterwarnings("ignore::UserWarning:PIL", "ignore::PIL.Image.DecompressionBombWarning")
@settings(max_examples=80, deadline=None)
@given(kind=st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "PPM"]), data=st.data())
def test_damaged_image_is_decoded_or_refused_but_never_fails_otherwise(
    tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject
) -> None:
    content = bytearray(encoded(kind))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(
        content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content
    )
    with suppress(DataError):
        assert prepare_image(path, COLOUR).shape == (1, 3, 8, 8)
