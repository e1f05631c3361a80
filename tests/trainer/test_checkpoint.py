"""Checkpoint files are opened without running code, and refused in one line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from proxconnect.errors import TrainingError
from proxconnect.trainer import read_checkpoint


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("evil",)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 truncated"])
def test_refuses_bytes_that_are_no_checkpoint(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "checkpoint"
    file.write_bytes(content)
    with pytest.raises(TrainingError, match="is not a checkpoint of 'proxconnect train'"):
        read_checkpoint(file)


@pytest.mark.parametrize(
    "content", [{}, {"proxconnect": 3}, [1], {"proxconnect": {"config": {}, "data": {}}}]
)
def test_refuses_a_checkpoint_of_somebody_else(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "checkpoint")
    with pytest.raises(TrainingError, match="checkpoint") as caught:
        read_checkpoint(tmp_path)
    assert "\n" not in str(caught.value)


def test_never_runs_pickled_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"proxconnect": Evil()}, tmp_path / "checkpoint")
    with pytest.raises(TrainingError, match="is not a checkpoint"):
        read_checkpoint(tmp_path)
    assert not (tmp_path / "evil").exists()
