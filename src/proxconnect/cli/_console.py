"""The terminal of a command: text as it is, with alarms in red where the terminal shows colours."""

from __future__ import annotations

from typing import ClassVar

from rich.console import Console
from rich.highlighter import RegexHighlighter
from rich.theme import Theme


class _Alarms(RegexHighlighter):
    highlights: ClassVar[list[str]] = [r"(?P<alarm>\(alarm\)|^alarm:)"]


def plain_console(*, stderr: bool = False, quiet: bool = False) -> Console:
    """Make a console that prints text unchanged, on standard error if ``stderr``, or nothing if ``quiet``.

    A file, a pipe or a terminal under ``NO_COLOR`` gets no control characters.

    >>> plain_console().print("[runs] :smile: flips 0.00% (alarm)")
    [runs] :smile: flips 0.00% (alarm)
    """
    return Console(
        stderr=stderr,
        quiet=quiet,
        soft_wrap=True,
        markup=False,
        emoji=False,
        highlighter=_Alarms(),
        theme=Theme({"alarm": "red"}),
    )
