"""An extension of Griffe: docstrings of this project as Markdown.

Docstrings name objects as Sphinx does and show examples bare. Names become code, and examples get fences.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:func|class|meth|mod|attr|data):`~?([^`]*)`")
_EXAMPLE = re.compile(r"(?:^[ ]*>>> .*\n(?:^(?![ ]*$).*\n?)*)+", re.MULTILINE)


class ProjectDocstrings(griffe.Extension):
    """Rewrite every docstring before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrite the docstring of one object."""
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(text: str) -> str:
    """Return a docstring with names as code and its examples in fences."""
    text = _ROLE.sub(r"`\1`", text).replace("``", "`")

    def fenced(example: re.Match[str]) -> str:
        return f"```pycon\n{example[0].rstrip()}\n```\n"

    return _EXAMPLE.sub(fenced, text + "\n").rstrip()
