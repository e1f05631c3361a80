"""``proxconnect check``: the verdict on a forward-backward pair."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated

import typer

import proxconnect
from proxconnect.errors import ProxConnectError
from proxconnect.quantizers import own_pair


def check(
    name: Annotated[str | None, typer.Argument(help="A method of the catalogue.")] = None,
    pair: Annotated[
        str | None,
        typer.Option(
            help="A pair of your own, as module:object; a file mine.py in this folder is the module mine."
        ),
    ] = None,
    mu: Annotated[float, typer.Option(help="Sharpness, a positive number.")] = 1.0,
    domain: Annotated[
        tuple[float, float], typer.Option(help="Interval to decide on, such as: --domain -1 1.")
    ] = (
        -math.inf,
        math.inf,
    ),
    plot: Annotated[
        Path | None, typer.Option(help="Draw F, B, P, T and r at mu/3, mu and 3 mu to this file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdict as JSON.")] = False,
) -> None:
    """Decide whether a forward-backward pair is exactly a proximal method, and explain the verdict.

    Exit status 0: exact on the domain. 1: not exact, or undetermined. 2: bad input.
    """
    if (name is None) == (pair is None):
        raise ProxConnectError("give either the name of a method or --pair module:object")
    verdict = proxconnect.check(own_pair(pair) if pair else str(name), mu=mu, domain=domain)
    if plot is not None:
        verdict.plot(plot)
    print(json.dumps(verdict.to_dict()) if as_json else verdict)
    if not verdict.exact:
        raise typer.Exit(1)
