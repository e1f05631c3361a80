"""The packed network of a command: a file, or a model of the zoo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from proxconnect import load
from proxconnect import zoo as zoo_models
from proxconnect.engine import EXACT, Network
from proxconnect.errors import ProxConnectError

ZooOption = Annotated[
    str | None, typer.Option("--zoo", help="A model that ships with the package, instead of a file.")
]


def open_network(
    file: Path | None, zoo: str | None, kernels: str, activations: str | None = None, precision: str = EXACT
) -> Network:
    """Load the network in ``file``, or the model ``zoo``.

    Raises:
        ProxConnectError: both or neither are given, or the network cannot be loaded.
    """
    if (file is None) == (zoo is None):
        known = ", ".join(zoo_models.list())
        raise ProxConnectError(f"give either a packed file or --zoo NAME (one of {known})")
    if zoo is not None:
        return zoo_models.load(zoo, kernels, activations, precision)
    assert file is not None
    return load(file, kernels, activations, precision=precision)
