"""The pictures of the pages are what the tools draw, and name what there is."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = sorted((ROOT / "tools").glob("*_picture.py"))


@pytest.fixture(params=TOOLS, ids=lambda tool: tool.stem)
def tool(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return runpy.run_path(str(request.param))


def test_a_picture_is_what_its_tool_draws(tool: dict[str, Any]) -> None:
    drawn = tool["draw"]()
    assert tool["PICTURE"].read_text() == drawn, f"run {tool['__file__']}"
    classes = {
        name for part in ElementTree.fromstring(drawn).iter() for name in part.get("class", "").split()
    }
    dark = drawn.partition("prefers-color-scheme: dark")[2].partition("</style>")[0]
    assert classes - {"code"} == {name for name in classes if f".{name} {{" in dark}


def test_every_picture_has_a_tool() -> None:
    drawn = {tool.stem.removesuffix("_picture") for tool in TOOLS}
    assert {path.stem for path in (ROOT / "docs" / "pictures").iterdir()} == drawn


def test_the_journey_names_folders_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    journey = runpy.run_path(str(ROOT / "tools" / "journey_picture.py"))
    folders = [name for step in (*journey["TRAINING"], *journey["RUNNING"]) for name in step.folders]
    assert len(folders) > 10
    assert [name for name in folders if not (ROOT / "src" / "proxconnect" / name).is_dir()] == []


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_pages_for_contributors_name_files_that_there_are(page: str) -> None:
    package = ROOT / "src" / "proxconnect"
    named = re.findall(r"`([a-z_]\w*/(?:[\w./-]*)?)`", (ROOT / page).read_text())
    assert len(named) > 10
    places = (ROOT, package, *package.iterdir())
    assert [name for name in named if not any((place / name).exists() for place in places)] == []
