"""``proxconnect eval``: the accuracy of a packed network."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from proxconnect import zoo as zoo_models
from proxconnect.cli._network import ZooOption, open_network
from proxconnect.engine import EXACT
from proxconnect.trainer import evaluate_split


def evaluate_file(
    data: Annotated[str, typer.Option(help="Data set: a folder, or the name 'cifar10' or 'digits'.")],
    file: Annotated[Path | None, typer.Argument(help="Packed model.")] = None,
    zoo: ZooOption = None,
    split: Annotated[str, typer.Option(help="test, val or train.")] = "test",
    batch_size: Annotated[int, typer.Option(help="Images per step.")] = 256,
    kernels: Annotated[str, typer.Option(help="fast or reference.")] = "fast",
    activations: Annotated[
        str | None, typer.Option(help="int8 or int6 quantizes the float inputs of binary layers.")
    ] = None,
    precision: Annotated[str, typer.Option(help="exact, fast or fastest.")] = EXACT,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Evaluate a packed model on a labelled data set; print the card's accuracy of a model of the zoo too."""
    network = open_network(file, zoo, kernels, activations, precision)
    start = time.perf_counter()
    result = evaluate_split(network, data, split, batch_size=batch_size)
    seconds = time.perf_counter() - start
    card_accuracy = None if zoo is None else zoo_models.card(zoo).accuracy
    if as_json:
        source: dict[str, Any] = (
            {"file": str(file)} if zoo is None else {"zoo": zoo, "card_accuracy": card_accuracy}
        )
        options = {"data": data, "split": split, "kernels": kernels, "activations": activations}
        options["precision"] = precision
        print(json.dumps({**result.to_dict(), **source, **options, "seconds": seconds}))
    else:
        print(
            f"{data} {split}: accuracy {result.accuracy:.4f}, loss {result.loss:.4f}, "
            f"{result.images} images, {seconds:.1f} s"
        )
        if card_accuracy is not None:
            print(f"the card of {zoo} says {card_accuracy:.4f} on the test split")
