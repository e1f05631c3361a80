"""Docstrings begin with a verb or the thing itself; ruff's D401 sees to the verbs of functions."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import proxconnect as pc

ROOT = Path(__file__).parents[2]
FILES = sorted(
    path
    for folder in ("src", "tests", "benchmarks", "examples", "tools")
    for path in (ROOT / folder).rglob("*.py")
)

# A sentence that begins so is a clause without the one that it belongs to.
FRAGMENT = re.compile(
    r"(What|Where|Whether|Which|Who|How|Why|The same|The other|Those|That|Of|As|From|For|By|With|On|In|To|"
    r"It|Its|They|Their|Likewise|Also)\b"
)


def docstrings(source: str) -> list[str]:
    """List all docstrings of a module."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = (ast.get_docstring(node) for node in ast.walk(ast.parse(source)) if isinstance(node, kinds))
    return [text for text in found if text]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_docstring_begins_with_a_fragment(path: Path) -> None:
    assert [text for text in docstrings(path.read_text()) if FRAGMENT.match(text)] == []


def test_a_fragment_is_found_wherever_it_stands() -> None:
    source = '"""Whether it rains."""\nclass A:\n    """Of A."""\n    def f():\n        """The same."""\n'
    assert [bool(FRAGMENT.match(text)) for text in docstrings(source)] == [True, True, True]
    assert not FRAGMENT.match("Inputs of a layer.")


@pytest.mark.parametrize("name", sorted(set(pc.__all__) - {"__version__"}))
def test_every_public_name_is_shown_in_an_example(name: str) -> None:
    assert ">>> " in (getattr(pc, name).__doc__ or "")
