"""The record of a finished run: the content of its folder as plain values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from proxconnect.errors import TrainingError
from proxconnect.experiments.grid import Cell
from proxconnect.trainer import TrainConfig, latent_histogram, read_checkpoint
from proxconnect.trainer.config import HARDWARE
from proxconnect.trainer.epoch_table import HISTOGRAM_COLUMNS, read_epochs
from proxconnect.trainer.folder import CHECKPOINT_FILE, CONFIG_FILE, LAYERS_FILE, METRICS_FILE, RESULT_FILE

# Logged once an epoch, over all layers.
_HISTORY = (
    "val_accuracy",
    "train_loss",
    "mu",
    "flip_rate",
    "outside_exact",
    "level_distance",
    "gradient_killed",
    "overflow_rate",
    "epoch_seconds",
)
# These options do not change the result of a run.
_ELSEWHERE = ("data", *HARDWARE, "compile", "precision", "channels_last")
# The largest number of histograms of the latents in a record.
_HISTOGRAMS = 6
# A plan without these leaves the batch to the number of images, and learning rates to the batch.
_LEFT_TO_THE_IMAGES = ("batch_size", "lr", "latent_lr")
_OF_LATENTS = ("latent_lr", "mu_schedule", "mu_start", "mu_end", "mu_fraction")


def state_of(cell: Cell, folder: Path) -> str:
    """Return the state of a cell: ``"done"``, ``"started"`` (a checkpoint to resume) or ``"pending"``.

    Raises:
        TrainingError: the folder holds a run of another configuration.
    """
    if not (folder / CONFIG_FILE).is_file():
        return "pending"
    recorded = _read(folder / CONFIG_FILE)
    refuse_difference(f"run {folder}", recorded, cell)
    if (folder / RESULT_FILE).is_file():
        return "done"
    return "started" if (folder / CHECKPOINT_FILE).is_file() else "pending"


def refuse_difference(what: str, recorded: Mapping[str, Any], cell: Cell) -> None:
    """Refuse a configuration that is not the one ``cell`` plans.

    Raises:
        TrainingError: the message names each key that differs.
    """
    theirs, ours = _decisive(recorded, cell.config.pair), decisive(cell.config)
    differences = [
        f"{key} is {theirs[key]!r}, planned {ours[key]!r}"
        for key in ours
        if theirs[key] != ours[key] and not (key in _LEFT_TO_THE_IMAGES and ours[key] is None)
    ]
    if differences:
        raise TrainingError(
            f"{what} is not what the grid plans for {cell.name}: {'; '.join(differences)}. "
            "Change the grid, or remove the run"
        )


def _decisive(recorded: Mapping[str, Any], pair: str | None) -> dict[str, Any]:
    """Apply :func:`decisive` to a recorded configuration; import a pair only if the grid names it too."""
    config = TrainConfig.from_dict(recorded)
    if config.pair in (None, pair):
        config = config.resolved()
    return decisive(config)


def decisive(config: TrainConfig) -> dict[str, Any]:
    """Return the options of a configuration that decide the result of a run.

    Other runs, in ``init`` and ``teacher``, are named by their folders.
    """
    ignored = _ELSEWHERE + (_OF_LATENTS if config.setting == "fp" else ())
    values = {key: value for key, value in config.to_dict().items() if key not in ignored}
    for key in ("init", "teacher"):
        values[key] = None if values[key] is None else Path(values[key]).name
    return values


def record_of(cell: Cell, folder: Path) -> dict[str, Any]:
    """Make the record of a finished run. Accuracies are shares of 1, times seconds, sizes bytes.

    Early releases wrote neither ``origin`` nor the fingerprint of the data to the result of a run. Then
    ``origin`` is None, and the fingerprint is read from the checkpoint.

    Raises:
        TrainingError: a file of the run cannot be read.
    """
    result = _read(folder / RESULT_FILE)
    history = read_history(folder)
    try:
        return {
            "config": _decisive(result["config"], cell.config.pair),
            "trained": result["trained"]["accuracy"],
            "packed": result["packed"]["accuracy"],
            "images": result["packed"]["images"],
            "bytes": result["bytes"],
            "ratio": result["ratio"],
            "mu": result["metrics"].get("mu"),
            "epochs": result["config"]["epochs"],
            "seconds": sum(history.get("epoch_seconds", [])),
            "history": {key: values for key, values in history.items() if key != "epoch_seconds"},
            "latents": _latents(folder, result["config"]["setting"]),
            "data_fingerprint": result.get("data_fingerprint") or _fingerprint(folder),
            "origin": result.get("origin"),
            "test": None,
        }
    except (KeyError, TypeError) as error:
        raise TrainingError(
            f"{folder / RESULT_FILE} is not a result of 'proxconnect train': {error!r}"
        ) from error


def read_history(folder: Path) -> dict[str, list[float]]:
    """Read each logged quantity, epoch by epoch, in five digits."""
    found: dict[str, list[float]] = {}
    for row in read_epochs(folder / METRICS_FILE):
        for key in _HISTORY:
            if key in row:
                found.setdefault(key, []).append(_short(row[key]))
    return found


def _latents(folder: Path, setting: str) -> dict[str, list[float]]:
    """Read some of the histograms of all latents, by epoch; if none were logged, make the last one."""
    if setting == "fp":
        return {}
    totals: dict[int, list[float]] = {}
    for row in read_epochs(folder / LAYERS_FILE):
        counts = totals.setdefault(int(row["epoch"]), [0.0] * len(HISTOGRAM_COLUMNS))
        for index, column in enumerate(HISTOGRAM_COLUMNS):
            counts[index] += row["elements"] * row[column]
    epochs = list(totals)
    if not epochs:
        checkpoint = read_checkpoint(folder)
        return {str(checkpoint.epoch): latent_histogram(checkpoint.build_model())}
    steps = min(_HISTOGRAMS, len(epochs)) - 1
    chosen = [epochs[round(index * (len(epochs) - 1) / max(1, steps))] for index in range(steps + 1)]
    return {str(epoch): [_short(count / sum(totals[epoch])) for count in totals[epoch]] for epoch in chosen}


def _short(value: float) -> float:
    return float(f"{value:.5g}")


def _fingerprint(folder: Path) -> str:
    return read_checkpoint(folder).data.fingerprint


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"cannot read {path}: {error}") from error
    if not isinstance(value, dict):
        raise TrainingError(f"{path} holds no JSON object")
    return value
