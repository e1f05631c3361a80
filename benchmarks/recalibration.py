"""Measure the accuracy of a hardened network with different statistics of BatchNorm.

    python benchmarks/recalibration.py --data FOLDER RUN [RUN ...]

Each RUN is the folder of a run of `proxconnect train` without --recalibrate. The script measures validation
accuracy as trained, and hardened with three kinds of statistics: those of training, those of 100 batches of
training images augmented as in training (as --recalibrate takes them), and those of as many plain batches. It
writes ``docs/results/data/recalibration.json`` and the table ``docs/results/recalibration.md``.
"""

from __future__ import annotations

import argparse
import copy
from itertools import islice
from pathlib import Path
from typing import Any

from _results import write_results
from _rounds import machine
from torch import nn

import proxconnect as pc
from proxconnect.base.table import Table
from proxconnect.data import Batches, ImageData, load_data
from proxconnect.errors import ProxConnectError
from proxconnect.trainer import evaluate, read_checkpoint

BATCHES = 100
STATISTICS = ("of training", "augmented images", "plain images")


def accuracies(run: Path, data: ImageData) -> dict[str, float]:
    """Measure the accuracies of one run: as trained, and hardened with each kind of statistics."""
    checkpoint = read_checkpoint(run)
    if checkpoint.config.recalibrate:
        raise ProxConnectError(
            f"{run} has lost the statistics of training: it was trained with --recalibrate"
        )
    trained = checkpoint.build_model()
    hardened = pc.harden_(copy.deepcopy(trained))
    found = {"trained": accuracy(trained, data), STATISTICS[0]: accuracy(hardened, data)}
    for name, augmentation in zip(STATISTICS[1:], (data.augmentation, None), strict=True):
        batches = Batches(
            data.train,
            checkpoint.config.batch_size,
            mean=data.mean,
            std=data.std,
            augmentation=augmentation,
            shuffle=True,
        )
        settled = pc.recalibrate_(copy.deepcopy(hardened), (images for images, _ in islice(batches, BATCHES)))
        found[name] = accuracy(settled, data)
    return found


def accuracy(model: nn.Module, data: ImageData) -> float:
    """Measure the accuracy of a model on validation images."""
    return evaluate(model, Batches(data.val, 250, mean=data.mean, std=data.std)).accuracy


def page(result: dict[str, Any]) -> str:
    """Write the page of the results."""
    lines = [
        "# BatchNorm of hardened networks",
        "",
        f"{result['data']}, {result['machine']}. The table shows the validation accuracy of hardened "
        "networks of the [reduced protocol](protocol.md), seed 0. BatchNorm has the statistics that "
        f"training left, or those of {BATCHES} batches of training images, augmented or plain. "
        "`benchmarks/recalibration.py` makes this page.",
        "",
        Table(
            ("run", "as trained", *STATISTICS),
            (
                [f"`{run}`", *(f"{value:.2%}" for value in found.values())]
                for run, found in result["runs"].items()
            ),
        ).markdown(),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    arguments = parser.parse_args()
    data, runs = load_data(arguments.data), {}
    for run in arguments.runs:
        runs[run.name] = accuracies(run, data)
        print(run.name, runs[run.name], flush=True)
    result = {"machine": machine(), "data": "CIFAR-10 (JPEG copy)", "runs": runs}
    write_results("recalibration", result, page)


if __name__ == "__main__":
    main()
