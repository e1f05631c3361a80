"""``proxconnect eval``: the accuracy of a packed network."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from proxconnect import zoo as zoo_models
from proxconnect.base.files import writable_target
from proxconnect.cli._network import ZooOption, open_network
from proxconnect.data import without_splits
from proxconnect.engine import EXACT
from proxconnect.errors import ProxConnectError
from proxconnect.trainer import TrainConfig, evaluate_split
from proxconnect.trainer.confusion import write_confusion
from proxconnect.trainer.folder import read_config


def evaluate_file(
    file: Annotated[
        Path | None, typer.Argument(help="Packed model, or the folder of a finished run.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Data set: a folder, or the name 'cifar10' or 'digits'; default: that of the run folder."
        ),
    ] = None,
    zoo: ZooOption = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="test, val or train; default: test, or val if the data of the run folder were split by "
            "--split."
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Images per step.")] = 256,
    kernels: Annotated[str, typer.Option(help="fast or reference.")] = "fast",
    activations: Annotated[
        str | None, typer.Option(help="int8 or int6 quantizes the float inputs of binary layers.")
    ] = None,
    precision: Annotated[str, typer.Option(help="exact, fast or fastest.")] = EXACT,
    confusion: Annotated[
        list[Path] | None,
        typer.Option(
            help="Write how many images of each class were taken for which: numbers to a .csv file, a "
            "picture to .png, .svg or .pdf; may be given twice."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Evaluate a packed model on a labelled data set; print the card's accuracy of a model of the zoo too.

    --json has the accuracy of each class. The classes of a folder are compared with the model's by name.
    """
    for path in confusion or ():
        writable_target(path)  # refuses a wrong path before the work
    network = open_network(file, zoo, kernels, activations, precision)
    run = read_config(file) if file is not None and file.is_dir() else None
    data, share = _data(data, run)
    split = split or ("test" if share is None else "val")
    start = time.perf_counter()
    result = evaluate_split(network, data, split, batch_size=batch_size, val_share=share)
    seconds = time.perf_counter() - start
    names = network.classes or [str(label) for label in range(len(result.confusion))]
    for path in confusion or ():
        write_confusion(result.confusion, names, path)
    card_accuracy = None if zoo is None else zoo_models.card(zoo).accuracy
    if as_json:
        source: dict[str, Any] = (
            {"file": str(file)} if zoo is None else {"zoo": zoo, "card_accuracy": card_accuracy}
        )
        options = {"data": data, "split": split, "kernels": kernels, "activations": activations}
        options["precision"] = precision
        by_class = dict(zip(names, result.class_accuracies, strict=True))
        details = {"accuracy_by_class": by_class, "seconds": seconds}
        print(json.dumps({**result.to_dict(), **source, **options, **details}))
        return
    print(
        f"{data} {split}: accuracy {result.accuracy:.4f}, loss {result.loss:.4f}, "
        f"{result.images} images, {seconds:.1f} s"
    )
    print(_seen(data, split, share, _own_run(file)))
    if card_accuracy is not None:
        print(f"the card of {zoo} says {card_accuracy:.4f} on the test split")
    for path in confusion or ():
        print(f"wrote {path}")


def _own_run(file: Path | None) -> TrainConfig | None:
    """Return the configuration of the run in whose folder a packed file lies, None if there is none."""
    if file is None:
        return None
    return read_config(file if file.is_dir() else file.parent)


def _seen(data: str, split: str, share: float | None, run: TrainConfig | None) -> str:
    """Say whether the network may have been trained on the images."""
    own = run is not None and run.same_data(data)
    if share is None and without_splits(data, split):
        if own and run is not None and run.split is not None:
            return (
                f"these are all images of the folder, and the network was trained on {1 - run.split:.0%} of "
                "them: give the folder of the run, without --data, for the others alone"
            )
        return (
            "these are all images of the folder: if the network was trained on this folder, the accuracy on "
            "new images is lower"
        )
    if split == "train":
        return "the network was trained on these images" if own else "these are the images to train on"
    return "these images are held out: training on this data set does not see them"


def _data(data: str | None, run: TrainConfig | None) -> tuple[str, float | None]:
    """Return the data set to evaluate on, and the share of each class that the run validated on."""
    if data is None:
        if run is None:
            raise ProxConnectError("eval needs --data FOLDER, or the folder of a run, which names its data")
        return str(run.data), run.split
    return data, run.split if run is not None and run.same_data(data) else None
