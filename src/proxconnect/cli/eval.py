"""``proxconnect eval``: accuracy of a packed file."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from proxconnect.errors import DataError, ProxConnectError


def evaluate_file(
    file: Annotated[Path, typer.Argument(help="Packed model.")],
    data: Annotated[str, typer.Option(help="Data set: a folder, or the name 'cifar10' or 'digits'.")],
    split: Annotated[str, typer.Option(help="test, val or train.")] = "test",
    batch_size: Annotated[int, typer.Option(help="Images per step.")] = 256,
    kernels: Annotated[str, typer.Option(help="fast or reference.")] = "fast",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Evaluate a packed model on a labelled data set."""
    import proxconnect
    from proxconnect.data import Batches, check_preprocessing, load_split
    from proxconnect.trainer import evaluate

    network = proxconnect.load(file, kernels=kernels)
    expected = network.preprocessing
    if expected is None:
        raise ProxConnectError(f"{file} does not say how to prepare images; save it with preprocessing=")
    check_preprocessing(expected)
    images = load_split(data, split, image_size=tuple(expected["size"]), mode=expected["mode"])
    highest, classes = int(images.labels.max()), len(network.classes or ())
    if highest >= classes:
        raise DataError(f"{data} has label {highest}, but {file} knows {classes} classes")
    start = time.perf_counter()
    result = evaluate(network, Batches(images, batch_size, mean=expected["mean"], std=expected["std"]))
    seconds = time.perf_counter() - start
    if as_json:
        named = {"file": str(file), "data": data, "split": split, "kernels": kernels, "seconds": seconds}
        print(json.dumps({**result.to_dict(), **named}))
    else:
        print(
            f"{data} {split}: accuracy {result.accuracy:.4f}, loss {result.loss:.4f}, "
            f"{result.images} images, {seconds:.1f} s"
        )
