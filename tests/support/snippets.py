"""Execution of the examples of a page, in their order, as a reader would paste them."""

from __future__ import annotations

import contextlib
import io
import math
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from proxconnect.cli.app import run

_FENCE = re.compile(r"^```(\S*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e-?\d+)?")


def fences(page: Path) -> Iterator[tuple[str, str]]:
    """Go through the examples of a page: language and text of each."""
    return ((match[1], match[2]) for match in _FENCE.finditer(page.read_text()))


def run_page(page: Path) -> int:
    """Execute a page's Python in one namespace, and its commands of ``proxconnect``; return how many ran.

    An example in ``text`` is the output of the one before it. Its integers are exact, and its other numbers
    may differ as they do from one processor to another.
    """
    names: dict[str, object] = {"__name__": "__main__"}
    ran, printed = 0, ""
    for language, text in fences(page):
        if language == "python":
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                exec(compile(text, page.name, "exec"), names)
            printed = output.getvalue()
            ran += 1
        elif language == "text":
            assert similar(text, printed), f"{page.name} shows\n{text}\nand the example prints\n{printed}"
        elif language == "sh":
            for line in text.splitlines():
                command, *arguments = shlex.split(line, comments=True) or [""]
                if command == "proxconnect":
                    assert run(arguments) == 0, line
                    ran += 1
                else:
                    assert command in ("", "pip"), f"{page.name} has a command of another program: {line}"
        else:
            raise AssertionError(f"{page.name} has an example in {language!r}, which nothing runs")
    return ran


def similar(shown: str, printed: str) -> bool:
    """Tell whether two outputs agree but for spaces and the last digits of numbers."""
    words, others = (_NUMBER.sub("#", text).split() for text in (shown, printed))
    pairs = zip(_NUMBER.findall(shown), _NUMBER.findall(printed), strict=False)
    return words == others and not [pair for pair in pairs if not _close(*pair)]


def _close(shown: str, printed: str) -> bool:
    if shown.isdigit() and printed.isdigit():
        return shown == printed
    return math.isclose(float(shown), float(printed), rel_tol=0.1, abs_tol=0.03)
