from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from looking import every

from proxconnect.data import load_data, load_split
from proxconnect.data._parquet import read_parquet
from proxconnect.errors import DataError

Make = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "things"


@pytest.fixture
def files(random_pixels: Make, encode: Make) -> list[bytes]:
    return [encode(pixels) for pixels in random_pixels(20)]


LABELS = [3, 1, 0, 2, 1] * 4


def test_pixels_and_labels_come_back_and_the_last_tenth_validates(
    folder: Path, write_parquet: Make, random_pixels: Make, encode: Make
) -> None:
    pixels = random_pixels(20)
    write_parquet(folder / "train.parquet", [encode(one) for one in pixels], LABELS)
    data = load_data(folder)
    expected = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    assert torch.equal(data.train.images, expected[:18])
    assert torch.equal(data.val.images, expected[18:])
    assert data.train.labels.tolist() == LABELS[:18]
    assert data.val.labels.tolist() == LABELS[18:]
    assert (data.name, data.classes) == ("things", ("0", "1", "2", "3"))
    np.testing.assert_allclose(data.mean, (pixels[:18] / 255).mean((0, 1, 2)), atol=1e-6)


def test_test_file_is_read_by_load_split_alone(folder: Path, write_parquet: Make, files: list[bytes]) -> None:
    write_parquet(folder / "train.parquet", files, LABELS)
    (folder / "test.parquet").write_bytes(b"not parquet: opening this would fail")
    load_data(folder)
    load_split(folder, "train")
    with pytest.raises(DataError, match=r"cannot read .*test.parquet"):
        load_split(folder, "test")
    write_parquet(folder / "test.parquet", files[:5], LABELS[:5])
    assert load_split(folder, "test").labels.tolist() == LABELS[:5]


@pytest.mark.parametrize("place", [".", "data", "plain_text"])
def test_shards_are_read_in_order(folder: Path, place: str, write_parquet: Make, files: list[bytes]) -> None:
    write_parquet(folder / place / "train-00001-of-00002.parquet", files[12:], LABELS[12:])
    write_parquet(folder / place / "train-00000-of-00002.parquet", files[:12], LABELS[:12])
    whole = folder / "whole"
    write_parquet(whole / "train.parquet", files, LABELS)
    sharded, single = load_data(folder), load_data(whole)
    assert torch.equal(sharded.train.images, single.train.images)
    assert sharded.fingerprint == single.fingerprint


def test_missing_shard_is_refused(folder: Path, write_parquet: Make, files: list[bytes]) -> None:
    write_parquet(folder / "train-00001-of-00002.parquet", files, LABELS)
    with pytest.raises(DataError, match="1 of 2 shards"):
        load_data(folder)


def test_validation_file_is_used_where_there_is_one(
    folder: Path, write_parquet: Make, files: list[bytes]
) -> None:
    write_parquet(folder / "train.parquet", files, LABELS)
    alone = load_data(folder)
    write_parquet(folder / "validation.parquet", files[:3], LABELS[:3])
    data = load_data(folder)
    assert (len(data.train), data.val.labels.tolist()) == (20, LABELS[:3])
    assert torch.equal(load_split(folder, "val").images, data.val.images)
    assert data.fingerprint != alone.fingerprint
    write_parquet(folder / "validation.parquet", files[3:6], LABELS[3:6])
    assert load_data(folder).fingerprint != data.fingerprint


def test_rows_sorted_by_class_give_up_a_tenth_of_each_class(
    folder: Path, write_parquet: Make, encode: Make, random_pixels: Make
) -> None:
    files = [encode(pixels) for pixels in random_pixels(60)]
    write_parquet(folder / "train.parquet", files, [0] * 20 + [1] * 40)
    data = load_data(folder)
    assert data.val.labels.tolist() == [0] * 2 + [1] * 4
    assert data.train.labels.tolist() == [0] * 18 + [1] * 36
    together = torch.cat([data.train.images, data.val.images]).flatten(1)
    assert len(together.unique(dim=0)) == 60


def hugging_face(names: object, column: str = "label") -> dict[str, str]:
    features = {column: {"names": names, "_type": "ClassLabel"}}
    return {"huggingface": json.dumps({"info": {"features": features}})}


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        (hugging_face(["ant", "bee", "cat", "dog"]), ("ant", "bee", "cat", "dog")),
        ({"classes": "ant,bee,cat,dog"}, ("ant", "bee", "cat", "dog")),
        ({"huggingface": "{not json", "classes": "ant,bee,cat,dog"}, ("ant", "bee", "cat", "dog")),
        (None, ("0", "1", "2", "3")),
        (hugging_face([1, 2, 3, 4]), ("0", "1", "2", "3")),
        ({"huggingface": "[]"}, ("0", "1", "2", "3")),
    ],
)
def test_class_names_are_those_the_file_declares(
    folder: Path,
    write_parquet: Make,
    files: list[bytes],
    metadata: dict[str, str] | None,
    expected: tuple[str, ...],
) -> None:
    write_parquet(folder / "train.parquet", files, LABELS, metadata=metadata)
    assert load_data(folder).classes == expected


def test_other_usual_column_names_are_known(folder: Path, write_parquet: Make, files: list[bytes]) -> None:
    names = hugging_face(["ant", "bee", "cat", "dog"], "fine_label")
    write_parquet(folder / "train.parquet", files, LABELS, image="image", label="fine_label", metadata=names)
    assert load_data(folder).classes[0] == "ant"


def test_fingerprint_follows_content_not_file_times(
    folder: Path, write_parquet: Make, files: list[bytes]
) -> None:
    path = write_parquet(folder / "train.parquet", files, LABELS)
    first = load_data(folder).fingerprint
    path.touch()
    assert load_data(folder).fingerprint == first
    write_parquet(path, files, [*LABELS[:-1], 0])
    assert load_data(folder).fingerprint != first
    write_parquet(path, [*files[:-1], files[0]], LABELS)
    assert load_data(folder).fingerprint != first


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"label": None}, r"row 7 .*train.parquet has no label"),
        ({"label": -1}, r"label -1 in row 7 .* out of range; expected 0 to 3"),
        ({"label": 4}, r"label 4 in row 7 .* out of range; expected 0 to 3, for the 4 classes declared"),
        ({"file": None}, r"row 7 .* no image bytes"),
        ({"file": b"GIF89a but not really"}, r"cannot decode row 7 .*train.parquet"),
        ({"file": b""}, r"cannot decode row 7 "),
    ],
)
def test_bad_rows_are_named(
    folder: Path, write_parquet: Make, files: list[bytes], change: dict[str, Any], words: str
) -> None:
    labels: list[int | None] = list(LABELS)
    images: list[bytes | None] = list(files)
    labels[7], images[7] = change.get("label", labels[7]), change.get("file", images[7])
    write_parquet(folder / "train.parquet", images, labels, metadata={"classes": "a,b,c,d"})
    with pytest.raises(DataError, match=words):
        load_data(folder)


def test_label_that_would_claim_memory_is_refused(
    folder: Path, write_parquet: Make, files: list[bytes]
) -> None:
    write_parquet(folder / "train.parquet", files, [*LABELS[:-1], 1 << 60])
    with pytest.raises(DataError, match="out of range"):
        load_data(folder)


def test_truncated_image_is_refused(
    folder: Path, write_parquet: Make, files: list[bytes], encode: Make, random_pixels: Make
) -> None:
    jpeg = encode(random_pixels(1, 32, 32)[0], "JPEG")
    write_parquet(folder / "train.parquet", [jpeg, jpeg[: len(jpeg) // 2]], [0, 1])
    with pytest.raises(DataError, match=r"cannot decode row 1 .*truncated"):
        load_data(folder)


def test_image_of_another_size_is_named_and_image_size_resizes_all(
    folder: Path, write_parquet: Make, encode: Make, random_pixels: Make
) -> None:
    files = [encode(random_pixels(1, 8, 8)[0]), encode(random_pixels(1, 8, 10)[0])]
    write_parquet(folder / "train.parquet", files, [1, 0])
    with pytest.raises(DataError, match=r"row 1 .* is 8 x 10 .* is 8 x 8; .*--image-size"):
        load_data(folder)
    assert load_data(folder, image_size=6).train.shape == (3, 6, 6)


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"pixels": [b"x"], "label": [0]}),
        pa.table({"img": [b"x"], "label": [0]}),
        pa.table({"img": [{"bytes": b"x"}], "label": ["cat"]}),
        pa.table({"img": [{"path": "x"}], "label": [0]}),
    ],
    ids=["no image", "not a struct", "label is text", "no bytes"],
)
def test_wrong_columns_are_listed_with_the_expected_ones(folder: Path, table: pa.Table) -> None:
    folder.mkdir()
    pq.write_table(table, folder / "train.parquet")
    with pytest.raises(DataError) as refused:
        load_data(folder)
    message = str(refused.value)
    assert every(name in message for name in [*table.column_names, "img or image", "label or fine_label"])


def test_file_without_rows_is_refused(folder: Path, write_parquet: Make) -> None:
    write_parquet(folder / "train.parquet", [], [])
    with pytest.raises(DataError, match="no rows"):
        load_data(folder)


def test_one_row_cannot_be_split(folder: Path, write_parquet: Make, files: list[bytes]) -> None:
    write_parquet(folder / "train.parquet", files[:1], [0])
    with pytest.raises(DataError, match="at least two"):
        load_data(folder)


def test_column_name_that_is_no_text_is_refused(folder: Path, files: list[bytes]) -> None:
    folder.mkdir()
    table = pa.table({"img": [{"bytes": file} for file in files], "label": LABELS})
    path = folder / "train.parquet"
    pq.write_table(table, path, store_schema=False)
    path.write_bytes(path.read_bytes().replace(b"label", b"\xffabel"))
    with pytest.raises(DataError, match=r"cannot read .*train.parquet as parquet"):
        load_data(folder)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_file_is_read_or_refused_but_never_fails_otherwise(
    folder: Path, write_parquet: Make, files: list[bytes], data: st.DataObject
) -> None:
    path = write_parquet(folder / "train.parquet", files[:4], [0, 1, 2, 1], metadata={"classes": "a,b,c"})
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(
        content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content
    )
    with suppress(DataError):
        encoded = read_parquet([path])
        assert every(0 <= label < len(encoded.classes) for label in encoded.labels)
