"""Networks in the forms of other runtimes.

>>> import proxconnect as pc
>>> sorted(pc.export.FORMS)
['c', 'gguf', 'onnx', 'qonnx', 'torch', 'torch-plain']
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from proxconnect.export._onnx import onnx
from proxconnect.export._torch import torch
from proxconnect.export.c import c
from proxconnect.gguf import gguf

__all__ = ["FORMS", "Form", "c", "gguf", "onnx", "torch"]


class Form(NamedTuple):
    """A form of the command line: the function that writes a network so, and the suffixes of its files."""

    write: Callable[[Any, Path], object]
    suffixes: tuple[str, ...]

    def files(self, path: Path) -> list[Path]:
        """Return the files that are written for ``path``."""
        return [path, *(path.with_suffix(suffix) for suffix in self.suffixes[1:])]


FORMS = {
    "onnx": Form(onnx, (".onnx",)),
    "qonnx": Form(partial(onnx, form="qonnx"), (".onnx",)),
    "torch": Form(torch, (".pt2",)),
    "torch-plain": Form(partial(torch, form="plain"), (".pt2",)),
    "c": Form(c, (".c", ".h")),
    "gguf": Form(gguf, (".gguf",)),
}
