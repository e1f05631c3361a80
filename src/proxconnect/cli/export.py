"""``proxconnect export``: a packed network in the form of another runtime."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, cast

import typer

from proxconnect import zoo as zoo_models
from proxconnect.base.files import writable_target
from proxconnect.cli._network import ZooOption, packed_file
from proxconnect.errors import ProxConnectError, unknown_name
from proxconnect.export import FORMS


def export_file(
    to: Annotated[str, typer.Option(help=f"The form to write: {', '.join(FORMS)}.")],
    file: Annotated[Path | None, typer.Argument(help="Packed model, or the folder of a run.")] = None,
    zoo: ZooOption = None,
    out: Annotated[Path | None, typer.Option(help="The file to write; by default the model's name.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace the file if it exists.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Write a packed network in the form of another runtime."""
    if to not in FORMS:
        raise ProxConnectError(unknown_name("form", to, FORMS))
    if (file is None) == (zoo is None):
        known = ", ".join(zoo_models.list())
        raise ProxConnectError(f"give either a packed file or --zoo NAME (one of {known})")
    form = FORMS[to]
    stem = zoo if zoo is not None else cast(Path, file).resolve().stem
    out = Path(f"{stem}{form.suffixes[0]}") if out is None else out
    for path in form.files(out):
        if writable_target(path).exists() and not overwrite:
            raise ProxConnectError(f"{path} exists; choose another name with --out, or pass --overwrite")
    form.write(packed_file(cast(Path, file)) if zoo is None else zoo_models.load(zoo), out)
    sizes = {str(path): path.stat().st_size for path in form.files(out)}
    lines = [f"{name}: {size:,} bytes" for name, size in sizes.items()]
    print(json.dumps({"form": to, "files": sizes}) if as_json else "\n".join(lines))
