from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

INSTALL = Path(__file__).parents[1] / "tools" / "install"


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ({"PYTHON": "no-such-python"}, "needs Python 3.11 or newer (tried: no-such-python)"),
        (
            {"CXX": "no-such-compiler"},
            "needs a C++20 compiler, such as GCC 11 or Clang 14 (tried: no-such-compiler)",
        ),
    ],
)
def test_what_is_missing_is_said_in_one_line(missing: dict[str, str], words: str, tmp_path: Path) -> None:
    script = tmp_path / "tools" / "install"
    script.parent.mkdir()
    shutil.copy(INSTALL, script)
    done = subprocess.run([script], env=os.environ | missing, capture_output=True, text=True)
    assert done.returncode == 1
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / ".venv").exists()
