"""``proxconnect methods``: the catalogue of methods."""

from __future__ import annotations

import json
import shutil
import sys
from typing import Annotated

import typer

from proxconnect.base.table import Table
from proxconnect.theory.criterion.overview import overview


def methods(
    as_json: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False,
) -> None:
    """List the methods: forward and backward quantizer, verdict of the criterion at mu = 1, source.

    C1-exact: a proximal map under a smooth monotone reparametrisation.
    """
    rows = overview()
    if as_json:
        print(json.dumps([row.to_dict() for row in rows]))
        return
    table = Table(
        ("method", "forward", "backward", "verdict at mu = 1", "source"),
        ((row.name, row.forward, row.backward, row.verdict, row.source) for row in rows),
    )
    # A pipe has no width, so each method has one line.
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print(table.text(width))
    print("\nwhy: proxconnect check NAME")
