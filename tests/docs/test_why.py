"""The page of complaints names tests that there are, and the reasons that were asked for."""

from __future__ import annotations

import re
from pathlib import Path

from looking import every

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "why.md").read_text()
ROWS = [line.split("|")[1:-1] for line in PAGE.splitlines() if line.startswith("| **")]


def test_every_complaint_names_tests_that_there_are() -> None:
    assert len(ROWS) >= 8
    for complaint, _, held in ROWS:
        files = re.findall(r"`(tests/[\w/]+\.py)`", held)
        assert files, f"no test holds the answer to: {complaint}"
        assert every("\ndef test_" in (ROOT / name).read_text() for name in files)
