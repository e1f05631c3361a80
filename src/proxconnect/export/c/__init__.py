"""Networks as C99, for microcontrollers and everything else that has a compiler of C."""

from __future__ import annotations

import os
import re
from pathlib import Path

from proxconnect.base.files import writable_target, written_whole
from proxconnect.errors import ProxConnectError
from proxconnect.export._fold import folded
from proxconnect.export._source import Exportable, source_of
from proxconnect.export.c._files import files
from proxconnect.export.c._lower import lowered
from proxconnect.graph import Examples

__all__ = ["c"]


def c(model: Exportable, path: str | os.PathLike[str], example_inputs: Examples | None = None) -> Path:
    """Write a network as a C99 file ``path`` and a header beside it, and return the file's path.

    The file has one function, ``<name>_run(input, output)``, for one sample; ``<name>`` is the name of the
    file. Binary weights are constant arrays of bits. Layers with binary input count bits; everything else is
    float32. All memory is static, and its size is known when the file is compiled. Nothing but ``math.h`` is
    needed.

    Args:
        model: the path of a packed file, a network from :func:`proxconnect.load`, or a model, of which a copy
            is hardened if it is not.
        path: the file to write, whose name ends in ``.c``; existing files are replaced.
        example_inputs: of a model, as for :func:`proxconnect.save`.

    Raises:
        ExportError: the network has operators or inputs that have no form in C (all are named), or a size
            that varies.
        FormatError: the packed file is damaged or has no graph.
        WriteError: a file cannot be written.

    >>> import tempfile, torch
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = c(torch.nn.Linear(4, 2), f"{folder}/layer.c", torch.zeros(1, 4))
    ...     header = path.with_suffix(".h").read_text()
    >>> [line for line in header.splitlines() if line.startswith("void")]
    ['void layer_run(const float input[4], float output[2]);']
    """
    path = Path(path)
    name = re.sub(r"\W", "_", path.stem, flags=re.ASCII)
    if path.suffix != ".c":
        raise ProxConnectError(f"path is {str(path)!r}; expected a name that ends in '.c'")
    if not re.match("[A-Za-z]", name):
        raise ProxConnectError(
            f"the name {path.stem!r} must begin with a letter: functions of C are named so"
        )
    source = folded(source_of(model, example_inputs, None))
    program, outputs = lowered(source)
    text = files(name, f"{path.stem}.h", source, program, outputs)
    writable_target(path)
    with written_whole(path.with_suffix(".h")) as temporary:
        temporary.write_text(text.header, encoding="ascii")
    with written_whole(path) as temporary:
        temporary.write_text(text.source, encoding="ascii")
    return path
