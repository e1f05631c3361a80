"""Output of commands: plain text everywhere but on a terminal with colours, where alarms are red."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from proxconnect.cli import _console

LINES = ("epoch 1/2  flips 0.00% (alarm)", "alarm: flips 0.00%: [raise] latent_lr", "runs/[a] is :fire: done")


def printed(monkeypatch: pytest.MonkeyPatch, *, terminal: bool) -> str:
    """Return what is printed to a file that is a terminal or not."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(
        _console, "Console", lambda **options: Console(**options, file=io.StringIO(), force_terminal=terminal)
    )
    console = _console.plain_console()
    for line in LINES:
        console.print(line)
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_a_pipe_and_a_terminal_without_colours_get_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert printed(monkeypatch, terminal=False) == "\n".join((*LINES, ""))
    monkeypatch.setenv("NO_COLOR", "1")
    assert printed(monkeypatch, terminal=True) == "\n".join((*LINES, ""))


def test_alarms_are_red_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    text = printed(monkeypatch, terminal=True)
    assert text.count("\x1b[") == 4  # on and off again, twice
    assert "flips 0.00% \x1b[31m(alarm)\x1b[0m\n" in text
    assert text.endswith("runs/[a] is :fire: done\n")
