"""The README's snippets run as they are pasted, and what it claims is what the code and the results say."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

import proxconnect as pc

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
SNIPPETS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.fixture
def speed(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return runpy.run_path(str(ROOT / "tools" / "speed_picture.py"))


def pasted(snippet: str, capsys: pytest.CaptureFixture[str]) -> str:
    exec(compile(snippet, "README.md", "exec"), {"__name__": "__main__"})
    return capsys.readouterr().out.strip()


def test_the_first_snippet_names_the_class_of_its_picture(capsys: pytest.CaptureFixture[str]) -> None:
    assert pasted(SNIPPETS[0], capsys) == "ship"


def test_the_second_snippet_trains_in_fifteen_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert len([line for line in SNIPPETS[1].splitlines() if line]) <= 15
    (accuracy,) = re.findall(r"tensor\((.*)\)", pasted(SNIPPETS[1], capsys))
    assert float(accuracy) > 0.95


def test_the_caption_of_the_picture_is_what_the_tool_prints(speed: dict[str, Any]) -> None:
    assert " ".join(README.split()).count(speed["caption"]()) == 1


def test_the_pairs_that_are_called_exact_are_those_that_check_finds_exact() -> None:
    (listed,) = re.findall(r"exact for\s+all weights: (.*?)\.\n", README, re.DOTALL)
    exact = [name for name in pc.methods() if pc.check(pc.method(name)).exact]
    assert sorted(re.findall(r"`(.*?)`", listed)) == sorted(exact)
    (end,) = re.findall(r"`bnn\+\+`, the default, is exact where `\|mu w\*\| <= (.*?)`", README)
    assert pc.check(pc.method("bnn++")).exact_interval.high == pytest.approx(float(end), abs=5e-4)
