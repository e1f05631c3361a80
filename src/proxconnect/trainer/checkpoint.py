"""Training checkpoints: written whole, opened without unpickling code."""

from __future__ import annotations

import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from proxconnect.errors import TrainingError
from proxconnect.layers import binarize_
from proxconnect.models import create_model
from proxconnect.trainer.config import TrainConfig

FILE_NAME = "checkpoint"
_KEY = "proxconnect"
_UNREADABLE = (
    *(
        RuntimeError,
        pickle.UnpicklingError,
        zipfile.BadZipFile,
        EOFError,
        OSError,
    ),  # not a torch file, or cut short
    *(LookupError, TypeError, ValueError, AttributeError),  # a torch file with other contents
)


@dataclass(frozen=True)
class DataFacts:
    """What a checkpoint remembers of the data it was trained on."""

    classes: tuple[str, ...]
    preprocessing: dict[str, Any]
    fingerprint: str

    @property
    def channels(self) -> int:
        """Channels of an image."""
        return len(self.preprocessing["mean"])

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of an image in pixels."""
        height, width = self.preprocessing["size"]
        return height, width


@dataclass(frozen=True)
class Checkpoint:
    """A run as its checkpoint file holds it."""

    path: Path
    config: TrainConfig
    data: DataFacts
    epoch: int
    metrics: dict[str, float]
    weights: dict[str, torch.Tensor]

    def build_model(self) -> nn.Module:
        """The model as trained: latent weights, and the sharpness reached."""
        model = build_model(self.config, self.data)
        model.load_state_dict(self.weights)
        return model.eval()


def build_model(
    config: TrainConfig, data: DataFacts, weights: dict[str, torch.Tensor] | None = None
) -> nn.Module:
    """A model as ``config`` says: initialised from its seed, or with ``weights``, then binarized."""
    height, width = data.image_size
    if height != width and not str(config.model).startswith("resnet"):
        raise TrainingError(f"{config.model} takes square images, not {height}x{width}; pass --image-size")
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        model = create_model(
            str(config.model),
            classes=len(data.classes),
            channels=data.channels,
            image_size=height,
            **config.model_args,
        )
    if weights is not None:
        model.load_state_dict(weights)
    if config.binarize is not None:
        everything = (lambda module, name: True) if config.binarize_all else None
        binarize_(model, config.binarize, filter_fn=everything)
    return model


def facts_to_save(config: TrainConfig, data: DataFacts, metrics: dict[str, float]) -> dict[str, Any]:
    """The entry that makes a Lightning checkpoint one of ours, in plain values."""
    facts = {
        "classes": list(data.classes),
        "preprocessing": data.preprocessing,
        "fingerprint": data.fingerprint,
    }
    return {_KEY: {"config": config.to_dict(), "data": facts, "metrics": metrics}}


def read_checkpoint(path: Path) -> Checkpoint:
    """Open the checkpoint at ``path``, or in the run folder ``path``.

    Raises:
        TrainingError: there is none, or it is not one that ``proxconnect train`` wrote.
    """
    file = path / FILE_NAME if path.is_dir() else path
    if not file.is_file():
        raise TrainingError(f"no checkpoint at {file}: give a run folder or its file {FILE_NAME!r}")
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
        ours = content[_KEY]
        config = TrainConfig.from_dict(ours["config"])
        data = DataFacts(
            tuple(ours["data"]["classes"]), ours["data"]["preprocessing"], ours["data"]["fingerprint"]
        )
        weights = {name.removeprefix("model."): value for name, value in content["state_dict"].items()}
        epoch = int(content["epoch"]) + 1
        metrics = {str(name): float(value) for name, value in ours["metrics"].items()}
    except _UNREADABLE as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise TrainingError(f"{file} is not a checkpoint of 'proxconnect train' ({reason})") from error
    return Checkpoint(file, config, data, epoch, metrics, weights)
