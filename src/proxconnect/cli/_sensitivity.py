"""``proxconnect train --sensitivity``: the accuracy that each layer costs when it alone is binarized."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import nn

from proxconnect.base.files import writable_target
from proxconnect.data import Batches, load_data
from proxconnect.errors import TrainingError
from proxconnect.trainer import TrainConfig, evaluate, read_checkpoint, sensitivity
from proxconnect.trainer.post_training import calibration_images
from proxconnect.trainer.start import inherit

# Enough for the statistics of a BatchNorm.
_CALIBRATION_IMAGES = 2560
_USED = (
    "init",
    "model",
    "data",
    "image_size",
    "split",
    "scale",
    "batch_size",
    "seed",
    "limit_train_batches",
    "limit_val_batches",
    "recalibrate",
)


def report_sensitivity(given: dict[str, Any], *, plot: Path | None, as_json: bool) -> None:
    """Measure the sensitivity of the checkpoint ``--init`` on validation images, and print it."""
    if plot is not None:
        writable_target(plot)  # refuses a wrong path before the work
    if "init" not in given:
        raise TrainingError("--sensitivity needs a full-precision checkpoint; pass --init RUN")
    if others := [name for name in given if name not in _USED]:
        raise TrainingError(
            f"--sensitivity trains nothing and takes no --{others[0].replace('_', '-')}; leave it out"
        )
    checkpoint = read_checkpoint(Path(given["init"]))
    if checkpoint.config.setting != "fp":
        raise TrainingError(
            f"--sensitivity needs a full-precision checkpoint; {given['init']} has setting "
            f"{checkpoint.config.setting!r}"
        )
    config = inherit(TrainConfig(**{"recalibrate": True, **given, "setting": "fp"}), checkpoint).resolved()
    if config.model != checkpoint.config.model:
        raise TrainingError(
            f"--init {given['init']} has model {checkpoint.config.model!r}, not {config.model!r}"
        )
    data = load_data(str(config.data), image_size=config.image_size, val_share=config.split)
    config = config.for_images(len(data.train))
    if data.classes != checkpoint.data.classes:
        raise TrainingError(
            f"--init {given['init']} has classes {checkpoint.data.classes!r}, the data {data.classes!r}"
        )
    data = replace(data, **{name: checkpoint.data.preprocessing[name] for name in ("mean", "std")})
    val = Batches(data.val, config.images_per_step, mean=data.mean, std=data.std)
    evaluations = []

    def accuracy(model: nn.Module) -> float:
        evaluations.append(evaluate(model, islice(val, config.limit_val_batches)))
        return evaluations[-1].accuracy

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    table = sensitivity(
        checkpoint.build_model(),
        accuracy,
        scale=None if config.scale == "none" else config.scale,
        recalibrate=calibration_images(data, config, _CALIBRATION_IMAGES) if config.recalibrate else False,
        on_layer=lambda layer: console.print(f"{layer.name}: {layer.accuracy:.2%}"),
    )
    images = evaluations[0].images
    if as_json:
        print(json.dumps({**table.to_dict(), "images": images}))
    else:
        print(f"{given['init']}: each layer binarized alone, on {images:,} validation images")
        print(table)
    if plot is not None:
        table.plot(plot)
