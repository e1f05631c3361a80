from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from proxconnect.data import _cache, load_data
from proxconnect.errors import DataError

Make = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path, write_parquet: Make, random_pixels: Make, encode: Make) -> Path:
    files = [encode(pixels) for pixels in random_pixels(6)]
    write_parquet(tmp_path / "set" / "train.parquet", files, [1, 0, 1, 0, 1, 0])
    return tmp_path / "set"


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with each decoding."""
    calls: list[int] = []
    plain = _cache.decoded

    def counted(*arguments: Any) -> torch.Tensor:
        calls.append(len(calls))
        return plain(*arguments)

    monkeypatch.setattr(_cache, "decoded", counted)
    return calls


def test_images_are_decoded_once(folder: Path, cache: Path, decodings: list[int]) -> None:
    first, second = load_data(folder), load_data(folder)
    assert len(decodings) == 1
    assert torch.equal(first.train.images, second.train.images)
    assert len(list(cache.iterdir())) == 1
    load_data(folder, image_size=4)
    assert len(decodings) == 2


def test_changed_file_is_decoded_anew_though_its_time_is_the_same(
    folder: Path, decodings: list[int], write_parquet: Make, random_pixels: Make, encode: Make
) -> None:
    path = folder / "train.parquet"
    load_data(folder)
    times = path.stat()
    pixels = random_pixels(6)
    write_parquet(path, [encode(one) for one in pixels], [1, 0, 1, 0, 1, 0])
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert torch.equal(load_data(folder).train.images, torch.from_numpy(pixels[:5]).permute(0, 3, 1, 2))
    assert len(decodings) == 2


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-1],
        lambda content: content[: len(content) // 2],
        lambda content: content + b"\0",
        lambda content: flipped(content, 0),
        lambda content: flipped(content, len(content) // 2),
        lambda content: flipped(content, len(content) - 1),
        lambda content: content.replace(b"images", b"Images"),
        lambda content: content.replace(b"[6,8,8,3]", b"[6,8,3,8]"),
        lambda content: content.replace(b"[6,8,8,3]", b"[3,8,8,6]"),
        lambda content: content.replace(b'"U8"', b'"I8"'),
    ],
)
def test_damaged_cache_is_rebuilt(
    folder: Path, cache: Path, decodings: list[int], damage: Callable[[bytes], bytes]
) -> None:
    expected = load_data(folder).train.images
    (path,) = cache.iterdir()
    content = path.read_bytes()
    assert damage(content) != content
    path.write_bytes(damage(content))
    assert torch.equal(load_data(folder).train.images, expected)
    assert len(decodings) == 2
    assert path.read_bytes() == content


def test_folder_that_cannot_be_written_costs_a_warning_only(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.warns(UserWarning, match="set PROXCONNECT_CACHE to a folder that can be written"):
        data = load_data(folder, cache=tmp_path / "file" / "cache")
    assert len(data.train) == 5


def test_cache_argument_goes_before_the_environment(folder: Path, cache: Path, tmp_path: Path) -> None:
    load_data(folder, cache=tmp_path / "mine")
    assert len(list((tmp_path / "mine").iterdir())) == 1
    assert not cache.exists()


def test_images_beyond_memory_are_mapped(
    folder: Path, cache: Path, decodings: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    in_memory = load_data(folder, image_size=5)
    monkeypatch.setattr(_cache, "_LARGEST_IN_MEMORY", 100)
    for _ in range(2):
        mapped = load_data(folder, image_size=5)
        assert torch.equal(mapped.train.images, in_memory.train.images)
        assert (mapped.mean, mapped.fingerprint) == (in_memory.mean, in_memory.fingerprint)
    assert len(decodings) == 2
    (file,) = cache.glob("*.raw")
    assert file.stat().st_size == 6 * 5 * 5 * 3
    file.write_bytes(b"short")
    assert torch.equal(load_data(folder, image_size=5).train.images, in_memory.train.images)
    assert len(decodings) == 3


def test_a_disk_without_room_is_refused(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*of: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_cache, "_LARGEST_IN_MEMORY", 100)
    monkeypatch.setattr(_cache.os, "posix_fallocate", full)
    with pytest.raises(
        DataError,
        match=r"images need 0.0 GB: cannot write .*: No space left on device; set PROXCONNECT_CACHE",
    ):
        load_data(folder, image_size=5)
    assert not list(cache.iterdir())
