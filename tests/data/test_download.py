from __future__ import annotations

import hashlib
import http.client
import io
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from looking import every

from proxconnect.data import _download, load_data, load_split
from proxconnect.data._download import CIFAR10_CLASSES, cifar10
from proxconnect.errors import DataError

Make = Callable[..., Any]


class Answer(io.BytesIO):
    def __init__(self, content: bytes, length: int | None = None) -> None:
        super().__init__(content)
        self.headers = {} if length is None else {"Content-Length": str(length)}


class Hub:
    """Stands in for ``urllib.request.urlopen``: answers with ``content``, notes the addresses asked for."""

    def __init__(self, content: bytes, length: int | None = None) -> None:
        self.content = content
        self.length = length
        self.asked: list[str] = []

    def __call__(self, address: str, timeout: float) -> Answer:
        assert timeout > 0
        self.asked.append(address)
        return Answer(self.content, self.length)


@pytest.fixture
def content(
    tmp_path: Path, write_parquet: Make, random_pixels: Make, encode: Make, monkeypatch: pytest.MonkeyPatch
) -> bytes:
    """Make a parquet file of 20 rows, and expect its checksum in place of the real ones."""
    files = [encode(pixels) for pixels in random_pixels(20)]
    made: bytes = write_parquet(tmp_path / "hub.parquet", files, [9, 0, 4, 2] * 5).read_bytes()
    monkeypatch.setattr(
        _download, "_SHA256", dict.fromkeys(("train", "test"), hashlib.sha256(made).hexdigest())
    )
    return made


def test_each_split_is_downloaded_once_and_only_when_asked_for(
    content: bytes, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub(content, len(content))
    monkeypatch.setattr(cifar10, "__defaults__", (hub,))
    data = load_data("cifar10")
    assert (data.name, data.classes) == ("cifar10", CIFAR10_CLASSES)
    assert (len(data.train), len(data.val), data.augmentation.flip) == (18, 2, True)
    load_data("cifar10")
    assert [address.rpartition("/")[2] for address in hub.asked] == ["train-00000-of-00001.parquet"]
    assert len(load_split("cifar10", "test")) == 20
    assert hub.asked[1].endswith("/test-00000-of-00001.parquet")
    assert sorted(path.name for path in (cache / "cifar10").iterdir()) == ["test.parquet", "train.parquet"]


def test_damaged_download_is_fetched_again(content: bytes, cache: Path) -> None:
    path = cifar10("train", cache, Hub(content))
    for damaged in (content[:100], content[:100] + bytes([content[100] ^ 64]) + content[101:]):
        path.write_bytes(damaged)
        assert cifar10("train", cache, Hub(content)).read_bytes() == content


def test_the_revision_and_its_checksums_are_pinned() -> None:
    assert re.search(r"cifar10/resolve/[0-9a-f]{40}/plain_text$", _download._FOLDER)
    assert every(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in _download._SHA256.values())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: Hub(content[:-10], len(content)), "of .* bytes arrived"),
        (lambda content: Hub(content[:-10]), "the SHA-256 of what arrived is not"),
        (lambda content: Hub(b"<html>please log in</html>"), "the SHA-256 of what arrived is not"),
        (lambda content: Hub(content.swapcase(), len(content)), "the SHA-256 of what arrived is not"),
    ],
    ids=["cut short", "cut short, length unknown", "another file", "other bytes"],
)
def test_incomplete_download_leaves_nothing(
    content: bytes, cache: Path, change: Callable[[bytes], Hub], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        cifar10("train", cache, change(content))
    assert list((cache / "cifar10").iterdir()) == []


@pytest.mark.parametrize(
    "failure",
    [
        urllib.error.URLError("no route to host"),
        urllib.error.HTTPError("", 404, "not found", http.client.HTTPMessage(), None),
        TimeoutError("timed out"),
        http.client.IncompleteRead(b""),
    ],
    ids=["no network", "not found", "timeout", "cut off"],
)
def test_without_network_the_alternatives_are_named(cache: Path, failure: Exception) -> None:
    def fail(address: str, timeout: float) -> Answer:
        raise failure

    with pytest.raises(DataError) as refused:
        cifar10("train", cache, fail)
    alternatives = ["cannot download cifar10", "train.parquet", "train/<class>/<image>", "'digits'"]
    assert every(words in str(refused.value) for words in alternatives)
    assert list((cache / "cifar10").iterdir()) == []
