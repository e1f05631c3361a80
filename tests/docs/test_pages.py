"""The examples of the documentation run, and its links lead somewhere."""

from __future__ import annotations

import doctest
import json
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_readme_quotes_the_results_that_the_script_wrote() -> None:
    script = runpy.run_path(str(ROOT / "benchmarks" / "cifar10_bw.py"))
    report = json.loads((ROOT / "docs" / "results" / "data" / "cifar10_bw.json").read_text())
    for page in ("README.md", "docs/results/cifar10_bw.md"):
        assert script["table"](report["rows"]) in (ROOT / page).read_text()


def test_the_guide_runs() -> None:
    failed, attempted = doctest.testfile(
        str(ROOT / "docs" / "guide.md"), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE
    )
    assert attempted > 20
    assert failed == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_local_links_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
