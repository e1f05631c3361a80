"""The command ``proxconnect export``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import proxconnect as pc
from proxconnect.cli.app import run


@pytest.fixture
def packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return pc.save(nn.Linear(4, 2), tmp_path / "layer.safetensors", torch.ones(1, 4))


def test_files_are_written_and_named(packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["export", str(packed), "--to", "c"]) == 0
    source, header = packed.with_suffix(".c"), packed.with_suffix(".h")
    lines = [f"{path.name}: {path.stat().st_size:,} bytes" for path in (source, header)]
    assert capsys.readouterr().out.splitlines() == lines
    assert run(["export", str(packed), "--to", "torch-plain", "--out", "a.pt2", "--json"]) == 0
    size = Path("a.pt2").stat().st_size
    assert json.loads(capsys.readouterr().out) == {"form": "torch-plain", "files": {"a.pt2": size}}


def test_refusals_are_one_line(packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packed.with_suffix(".h").touch()
    weights = pc.save(nn.Linear(4, 2), packed.with_name("weights.safetensors"))
    before = {path.name for path in packed.parent.iterdir()}
    for arguments, message in (
        ([str(packed), "--to", "onx"], "unknown form 'onx'; did you mean 'onnx'"),
        ([str(packed), "--to", "c", "--zoo", "a"], "give either a packed file or --zoo NAME"),
        (["--to", "c"], "give either a packed file or --zoo NAME"),
        ([str(packed), "--to", "c"], "layer.h exists; choose another name with --out"),
        ([str(packed), "--to", "c", "--out", "other.x"], "expected a name that ends in '.c'"),
        ([str(weights), "--to", "c"], "the file has weights but no graph"),
        (["--zoo", "resnet20", "--to", "c"], "unknown model of the zoo 'resnet20'"),
    ):
        assert run(["export", *arguments]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert {path.name for path in packed.parent.iterdir()} == before
    assert run(["export", str(packed), "--to", "c", "--overwrite"]) == 0
