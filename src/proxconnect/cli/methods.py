"""``proxconnect methods``: the catalogue."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def methods(
    as_json: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False,
) -> None:
    """List the methods: forward and backward quantizer, verdict of the criterion at mu = 1, source."""
    from rich.console import Console
    from rich.table import Table

    from proxconnect.theory.overview import overview

    rows = overview()
    if as_json:
        print(json.dumps([row.to_dict() for row in rows]))
        return
    table = Table()
    for column in ("method", "forward", "backward", "verdict at mu = 1", "source"):
        table.add_column(column)
    for row in rows:
        table.add_row(row.name, row.forward, row.backward, row.verdict, row.source)
    Console(highlight=False).print(table)
