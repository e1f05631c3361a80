"""The packed network of a command: a file, a run folder, or a model of the zoo."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from proxconnect import load
from proxconnect import zoo as zoo_models
from proxconnect.engine import EXACT, Network
from proxconnect.errors import ProxConnectError
from proxconnect.trainer.folder import CHECKPOINT_FILE, MODEL_FILE

ZooOption = Annotated[
    str | None, typer.Option("--zoo", help="A model that ships with the package, instead of a file.")
]


def open_network(
    file: Path | None, zoo: str | None, kernels: str, activations: str | None = None, precision: str = EXACT
) -> Network:
    """Load the network in ``file`` or in the run folder ``file``, or the model ``zoo``.

    Raises:
        ProxConnectError: both or neither are given, or the network cannot be loaded.
    """
    if (file is None) == (zoo is None):
        known = ", ".join(zoo_models.list())
        raise ProxConnectError(f"give either a packed file or --zoo NAME (one of {known})")
    if zoo is not None:
        return zoo_models.load(zoo, kernels, activations, precision)
    assert file is not None
    return load(packed_file(file), kernels, activations, precision=precision)


def packed_file(path: Path) -> Path:
    """Return ``path``, or the packed file in the run folder ``path``.

    Raises:
        ProxConnectError: the folder has no packed file.
    """
    if not path.is_dir():
        return path
    file = path / MODEL_FILE
    if file.exists():
        return file
    if (path / CHECKPOINT_FILE).is_file():
        place = shlex.quote(str(path))
        raise ProxConnectError(
            f"the run in {path} has no {MODEL_FILE} yet: finish it with 'proxconnect train --resume {place}',"
            f" or pack it as it is with 'proxconnect pack {place} --out FILE' and give that file"
        )
    raise ProxConnectError(
        f"{path} is a folder without {MODEL_FILE}; give a packed file, or the folder of a finished run"
    )
