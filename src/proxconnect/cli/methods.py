"""``proxconnect methods``: the catalogue."""

from __future__ import annotations

import json
from typing import Annotated

import typer

_UNWRAPPED = 200


def methods(
    as_json: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False,
) -> None:
    """List the methods: forward and backward quantizer, verdict of the criterion at mu = 1, source.

    C1-exact: a proximal map under a smooth monotone reparametrisation.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from proxconnect.theory.criterion.overview import overview

    rows = overview()
    if as_json:
        print(json.dumps([row.to_dict() for row in rows]))
        return
    table = Table(box=box.SIMPLE_HEAD, caption="why: proxconnect check NAME", caption_justify="left")
    for column in ("method", "forward", "backward", "verdict at mu = 1", "source"):
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(row.name, row.forward, row.backward, row.verdict, row.source)
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _UNWRAPPED  # one line for each method: a pipe has no width
    console.print(table)
