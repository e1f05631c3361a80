"""``proxconnect pack``: the packed file of a training checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import torch
import typer

import proxconnect
from proxconnect.base.files import writable_target
from proxconnect.errors import ProxConnectError
from proxconnect.trainer import Checkpoint, read_checkpoint


def pack(
    checkpoint: Annotated[Path, typer.Argument(help="Run folder or checkpoint file of 'proxconnect train'.")],
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("model.safetensors"),
    rest: Annotated[
        str, typer.Option(help="Format of parameters that are not 1-bit: float32, float16 or int8.")
    ] = "float32",
    overwrite: Annotated[bool, typer.Option(help="Replace the file if it exists.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summary as JSON, and nothing else.")
    ] = False,
) -> None:
    """Harden a trained model and pack it into one safetensors file that loads without the model's code."""
    if writable_target(out).exists() and not overwrite:
        raise ProxConnectError(f"--out {out} exists; choose another name or pass --overwrite")
    write_packed(read_checkpoint(checkpoint), out, rest)
    summary = proxconnect.summary(out)
    print(json.dumps(summary.to_dict()) if as_json else summary)


def write_packed(checkpoint: Checkpoint, path: Path, rest: str = "float32") -> None:
    """Write the checkpoint's model, hardened, to ``path``."""
    example = torch.zeros(
        2, checkpoint.data.channels, *checkpoint.data.image_size, dtype=torch.float32, device="cpu"
    )
    proxconnect.save(
        checkpoint.build_model(),
        path,
        (example,),
        rest=rest,
        classes=list(checkpoint.data.classes),
        preprocessing=checkpoint.data.preprocessing,
        metrics={name: checkpoint.metrics[name] for name in ("val_accuracy",) if name in checkpoint.metrics},
    )
