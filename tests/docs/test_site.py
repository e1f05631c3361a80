"""The pages make a site without a complaint, its API misses no name, and pasted examples run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from looking import every
from snippets import fences, run_page

import proxconnect as pc

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
LOADED = re.compile(r"<(?:script|link|img|iframe)\b[^>]*?\b(?:src|href)=\"?([^\s\">]+)")
PASTED = [
    *(DOCS / f"{name}.md" for name in ("start", "choose", "coming-from", "debug")),
    *sorted((DOCS / "tutorials").glob("[!R]*.md")),
]
"""Pages whose examples have no prompts: a reader pastes them one after the other."""
RUN_ELSEWHERE = {
    "distributed.md": "tests/optim/sharded_training.py",
    "export.md": "tests/export/test_onnx.py",
    "format.md": "tests/format/test_format_doc.py",
    "guide.md": "tests/integrations/test_loops.py",
    "language_models.md": "tests/gguf/test_read.py",
}
"""Pages with examples that name things of the reader's own, and the tests that run the same calls."""


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
    pages = [path.read_text() for path in (site / "api").rglob("index.html")]
    assert every(re.search(r":(?:func|class|meth|mod):", page) is None for page in pages)
    assert every("<p>&gt;&gt;&gt;" not in page and "<blockquote>" not in page for page in pages)


def test_the_site_documents_every_public_name(site: Path) -> None:
    documented = {
        name
        for path in (site / "api").rglob("index.html")
        for name in re.findall(r'id="(proxconnect[\w.]+)"', path.read_text())
    }
    names = {f"proxconnect.{name}" for name in pc.__all__ if not isinstance(getattr(pc, name), ModuleType)}
    for path in (ROOT / "src" / "proxconnect").glob("[!_]*/__init__.py"):
        if path.parent.name not in ("base", "cli"):
            module = import_module(f"proxconnect.{path.parent.name}")
            own = [name for name in getattr(module, "__all__", []) if not same(name, module)]
            names |= {f"{module.__name__}.{name}" for name in own}
    assert len(names) > 200
    assert sorted(names - documented - {"proxconnect.__version__"}) == []


def same(name: str, module: ModuleType) -> bool:
    """Tell whether a name of a module is one of ``proxconnect``, where it is documented."""
    return name in pc.__all__ and getattr(pc, name) is getattr(module, name)


def test_every_example_in_python_is_run() -> None:
    bare = {
        page.relative_to(DOCS).as_posix()
        for page in DOCS.rglob("*.md")
        for language, text in fences(page)
        if language == "python" and not text.startswith(">>> ")
    }
    assert bare == {page.relative_to(DOCS).as_posix() for page in PASTED} | set(RUN_ELSEWHERE)
    assert every((ROOT / test).is_file() for test in RUN_ELSEWHERE.values())


@pytest.mark.parametrize("page", PASTED, ids=lambda page: page.stem)
def test_pasted_examples_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_page(page) > 0
