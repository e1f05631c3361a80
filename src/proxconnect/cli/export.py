"""``proxconnect export``: a packed network in the form of another runtime."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, cast

import typer

from proxconnect import zoo as zoo_models
from proxconnect.base.files import writable_target
from proxconnect.cli._language_model import folder_model
from proxconnect.cli._network import ZooOption, packed_file
from proxconnect.errors import ProxConnectError, unknown_name
from proxconnect.export import FORMS, Form
from proxconnect.gguf import gguf


def export_file(
    to: Annotated[str, typer.Option(help=f"The form to write: {', '.join(FORMS)}.")],
    file: Annotated[
        Path | None,
        typer.Argument(help="Packed model, or the folder of a run; for gguf, of a language model."),
    ] = None,
    zoo: ZooOption = None,
    out: Annotated[Path | None, typer.Option(help="The file to write; by default the model's name.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace the file if it exists.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Write a packed network in the form of another runtime."""
    if to not in FORMS:
        raise ProxConnectError(unknown_name("form", to, FORMS))
    form = FORMS[to]
    stem, write = _language_model(file, zoo) if to == "gguf" else _network(file, zoo, form)
    out = Path(f"{stem}{form.suffixes[0]}") if out is None else out
    for path in form.files(out):
        if writable_target(path).exists() and not overwrite:
            raise ProxConnectError(f"{path} exists; choose another name with --out, or pass --overwrite")
    write(out)
    sizes = {str(path): path.stat().st_size for path in form.files(out)}
    lines = [f"{name}: {size:,} bytes" for name, size in sizes.items()]
    print(json.dumps({"form": to, "files": sizes}) if as_json else "\n".join(lines))


def _network(file: Path | None, zoo: str | None, form: Form) -> tuple[str, Callable[[Path], object]]:
    """Return the name of a packed network, and what writes it to a path."""
    if (file is None) == (zoo is None):
        known = ", ".join(zoo_models.list())
        raise ProxConnectError(f"give either a packed file or --zoo NAME (one of {known})")
    if file is None:
        return cast(str, zoo), lambda out: form.write(zoo_models.load(cast(str, zoo)), out)
    return file.resolve().stem, lambda out: form.write(packed_file(file), out)


def _language_model(folder: Path | None, zoo: str | None) -> tuple[str, Callable[[Path], object]]:
    """Return the name of a folder of transformers, and what writes its model and tokenizer to a path."""
    if folder is None or zoo is not None or not folder.is_dir():
        raise ProxConnectError(
            f"--to gguf takes the folder of a language model that save_pretrained wrote, not {zoo or folder}"
        )
    return folder.resolve().name, lambda out: gguf(folder_model(folder), out, tokenizer=folder)
