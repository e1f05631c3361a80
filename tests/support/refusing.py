"""Commands that refuse their arguments."""

from __future__ import annotations

import pytest

from proxconnect.cli.app import run


def error_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that ends with status 2 and one line, which is returned; nothing else is printed."""
    capsys.readouterr()
    assert run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    return captured.err
