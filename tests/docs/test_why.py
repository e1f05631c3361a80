"""Every complaint on its page names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

from looking import every

ROOT = Path(__file__).parents[2]
SECTIONS = (ROOT / "docs" / "why.md").read_text().split("\n## ")[1:]


def test_every_complaint_names_tests_that_there_are() -> None:
    assert len(SECTIONS) >= 8
    for section in SECTIONS:
        files = re.findall(r"`(tests/[\w/]+\.py)`", section.partition("Held by ")[2])
        assert files, f"no test holds the answer to: {section}"
        assert every("\ndef test_" in (ROOT / name).read_text() for name in files)
