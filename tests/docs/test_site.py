"""The pages make a site without a complaint, and its pages of the API miss no name."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from looking import every
from snippets import run_page

import proxconnect as pc

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
TOOL = runpy.run_path(str(ROOT / "tools" / "api_pages.py"))
LOADED = re.compile(r"<(?:script|link|img|iframe)\b[^>]*?\b(?:src|href)=\"?([^\s\">]+)")
PASTED = [DOCS / "start.md", *sorted((DOCS / "tutorials").glob("[!R]*.md"))]
"""Pages whose examples have no prompts: a reader pastes them one after the other."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    # The theme would print an advertisement of its successor.
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(build, cwd=ROOT, env=quiet, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return folder


def test_every_page_is_on_the_site(site: Path) -> None:
    pages = {path.relative_to(DOCS).with_suffix("") for path in DOCS.rglob("*.md")}
    places = {page.parent if page.name == "README" else page for page in pages}
    assert len(places) > 50
    assert [str(place) for place in places if not (site / place / "index.html").is_file()] == []


def test_the_site_asks_no_other_host_for_anything(site: Path) -> None:
    loaded = [address for page in site.rglob("*.html") for address in LOADED.findall(page.read_text())]
    assert len(loaded) > 100
    assert [address for address in loaded if "://" in address] == []


def test_names_and_examples_of_docstrings_are_markup(site: Path) -> None:
    pages = [(site / "api" / name / "index.html").read_text() for name in ("", *TOOL["MODULES"])]
    assert every(re.search(r":(?:func|class|meth|mod):", page) is None for page in pages)
    assert every("<p>&gt;&gt;&gt;" not in page and "<blockquote>" not in page for page in pages)


def test_the_site_documents_every_public_name(site: Path) -> None:
    first = (site / "api" / "index.html").read_text()
    modules = {"export", "zoo"}  # each has a page
    assert every(f'id="proxconnect.{name}"' in first for name in {*pc.__all__} - modules - {"__version__"})
    for module in TOOL["MODULES"]:
        page = (site / "api" / module / "index.html").read_text()
        listed = TOOL["public_names"](import_module(f"proxconnect.{module}"))
        assert [name for name in listed if f'id="proxconnect.{module}.{name}"' not in page] == []


def test_the_pages_of_the_api_are_what_the_tool_writes() -> None:
    pages = TOOL["pages"]()
    assert {path.name for path in (DOCS / "api").iterdir()} == set(pages)
    for name, text in pages.items():
        assert (DOCS / "api" / name).read_text() == text, f"run tools/api_pages.py: {name} is out of date"


def test_the_api_has_every_public_module() -> None:
    package = ROOT / "src" / "proxconnect"
    found = {path.parent.name for path in package.glob("*/__init__.py")}
    found |= {path.stem for path in package.glob("*.py")}
    public = {name for name in found if not name.startswith("_")} - {"base", "cli", "integrations"}
    public |= {f"integrations.{path.stem}" for path in (package / "integrations").glob("[!_]*.py")}
    assert public == set(TOOL["MODULES"])


@pytest.mark.parametrize("page", PASTED, ids=lambda page: page.stem)
def test_pasted_examples_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_page(page) > 2
