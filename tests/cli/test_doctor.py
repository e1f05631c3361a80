"""``proxconnect doctor``, ``--version`` and the completion of shells."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from importlib.machinery import ModuleSpec

import pytest
from torch import nn

import proxconnect as pc
from proxconnect.cli import _self_test
from proxconnect.cli.app import run
from proxconnect.engine import active_kernels, kernel_sets


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"proxconnect {pc.__version__}\n"


def test_a_sound_machine(capsys: pytest.CaptureFixture[str]) -> None:
    before = active_kernels()
    assert run(["doctor"]) == 0
    printed = capsys.readouterr().out
    for name in kernel_sets():
        assert f"self-test of {name}: right\n" in printed
    assert "methods, check, pack, bench" in printed
    assert active_kernels() == before


def test_wrong_answers_are_named_and_end_in_status_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pack = _self_test.pack_

    def wrong(model: nn.Module, **options: str | None) -> nn.Module:
        packed = pack(model, **options)  # type: ignore[arg-type]
        if "kernels" not in options and isinstance(model[0], nn.Linear):  # type: ignore[index]
            packed.register_forward_hook(lambda module, inputs, output: -output)
        return packed

    monkeypatch.setattr(_self_test, "pack_", wrong)
    before = active_kernels()
    assert run(["doctor", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)["self_test"]
    linear = ["linear, bw", "linear, bw, 8-bit inputs", "linear, bwa"]
    assert found == {name: linear for name in kernel_sets()}
    assert active_kernels() == before


def test_missing_packages_and_what_brings_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec

    def without_pillow(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "PIL" else find(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without_pillow)
    assert run(["doctor", "--json"]) == 0
    commands = {each["command"]: each for each in json.loads(capsys.readouterr().out)["commands"]}
    assert commands["predict"] == {"command": "predict", "missing": ["pillow"], "extra": "train"}
    assert commands["methods, check, pack, bench, export"]["missing"] == []


def test_shells_complete_commands() -> None:
    program = "import sys; from proxconnect.cli import main; sys.argv[0] = 'proxconnect'; main()"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"_PROXCONNECT_COMPLETE": "complete_bash", "COMP_WORDS": "proxconnect doc", "COMP_CWORD": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.split() == ["doctor"], done.stderr
