"""Training checkpoints: written whole, opened without unpickling code."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from proxconnect.base.files import written_whole
from proxconnect.data import check_preprocessing
from proxconnect.errors import ProxConnectError, TrainingError, first_line, unknown_name
from proxconnect.layers import LINEAR_AND_CONV, binarize_, default_layers
from proxconnect.models import create_model
from proxconnect.quantizers import ForwardBackward, Sharpness
from proxconnect.trainer.config import TrainConfig
from proxconnect.trainer.folder import CHECKPOINT_FILE, CONFIG_FILE

_KEY = "proxconnect"
# Errors of torch and Python when the model of a configuration cannot be made.
_IMPOSSIBLE = (ArithmeticError, LookupError, MemoryError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class DataFacts:
    """The facts about the training data that a checkpoint holds: classes, preprocessing and fingerprint."""

    classes: tuple[str, ...]
    preprocessing: dict[str, Any]
    fingerprint: str

    @property
    def channels(self) -> int:
        """Number of channels of an image."""
        return len(self.preprocessing["mean"])

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of an image in pixels."""
        height, width = self.preprocessing["size"]
        return height, width


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint file: configuration, data facts, epoch, metrics and weights."""

    path: Path
    config: TrainConfig
    data: DataFacts
    epoch: int
    metrics: dict[str, float]
    weights: dict[str, Tensor]

    def build_model(self, pair: ForwardBackward | None = None) -> nn.Module:
        """Build the trained model, with its latent weights and its sharpness.

        Args:
            pair: the pair that the run's option ``pair`` names, if the run has one. A checkpoint does not
                choose the modules that are imported. Without ``pair`` such a model can be hardened, which
                needs no pair, but it cannot be called.

        Raises:
            TrainingError: the checkpoint does not hold the tensors of the model that it describes.
        """
        if self.config.pair is not None and pair is None:
            pair = _not_imported(self.config)
        try:
            model = build_model(self.config, self.data, pair=pair)
        except ProxConnectError as error:
            raise TrainingError(f"{self.path} describes no model: {error}") from error
        except _IMPOSSIBLE as error:
            raise TrainingError(
                f"{self.path} describes a model that cannot be made: {first_line(error)}"
            ) from error
        _load(str(self.path), model, self.weights)
        return model.eval()


def build_model(
    config: TrainConfig,
    data: DataFacts,
    weights: dict[str, Tensor] | None = None,
    pair: ForwardBackward | None = None,
) -> nn.Module:
    """Build the model of ``config``, initialised from its seed or with ``weights``, and binarize it.

    Args:
        config: the model's name and the way it is binarized.
        data: the classes and the form of the images.
        weights: weights of the model in full precision, from the checkpoint ``config.init`` or pretrained.
        pair: a pair of one's own; None imports the pair that ``config`` names.
    """
    model = initialised_model(config, data)
    if weights is not None:
        _load("--pretrained" if config.init is None else f"--init {config.init}", model, weights)
    binarize = config.binarize_with(pair)
    if binarize is not None:
        binarize_(model, binarize, filter_fn=_layer_filter(model, config))
    return model


def initialised_model(config: TrainConfig, data: DataFacts, *, pretrained: bool = False) -> nn.Module:
    """Create the model of ``config`` in full precision, from its seed or with pretrained weights."""
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        return create_model(
            str(config.model),
            classes=len(data.classes),
            channels=data.channels,
            image_size=data.image_size,
            pretrained=pretrained,
            **config.model_args,
        )


def _layer_filter(model: nn.Module, config: TrainConfig) -> Callable[[nn.Module, str], bool] | None:
    """Return the filter of the layers to binarize; None for the default choice.

    Raises:
        TrainingError: ``keep`` names no layer of the model that would be binarized.
    """
    if not config.kept_layers:
        return (lambda module, name: True) if config.binarize_all else None
    everything = tuple(name for name, module in model.named_modules() if isinstance(module, LINEAR_AND_CONV))
    chosen = everything if config.binarize_all else default_layers(model)
    for name in config.kept_layers:
        if name not in everything:
            raise TrainingError(f"--keep: {unknown_name('layer', name, everything)}")
    return lambda module, name: name in chosen and name not in config.kept_layers


@dataclass(frozen=True)
class _NotImported:
    """A stand-in for both quantizers of a pair whose module a checkpoint names: it refuses to be called."""

    place: str

    def __call__(self, w: Tensor, mu: Sharpness) -> Tensor:
        raise TrainingError(
            f"this model was trained with the pair {self.place}, which is imported only where you name it: "
            "pass it to build_model, as pair=; to harden or pack the model needs none"
        )


def _not_imported(config: TrainConfig) -> ForwardBackward:
    stand_in = _NotImported(str(config.pair))
    return ForwardBackward(stand_in, stand_in, name=str(config.method))


def _load(where: str, model: nn.Module, weights: Mapping[str, Any]) -> None:
    expected = model.state_dict()
    for name in expected.keys() & weights.keys():
        ours, theirs = _described(expected[name]), _described(weights[name])
        if ours != theirs:
            raise TrainingError(f"{where}: tensor {name!r} is {theirs}, expected {ours}")
    # The layers fill in the tensors that earlier releases did not have.
    missing, unexpected = model.load_state_dict(weights, strict=False)
    for what, names in (("has no tensor", missing), ("has a tensor that the model lacks,", unexpected)):
        if names:
            raise TrainingError(f"{where} {what} {names[0]!r}: it is damaged, or not of this model")


def _described(value: object) -> str:
    if not isinstance(value, Tensor):
        return f"of type {type(value).__name__}"
    layout = "" if value.layout == torch.strided else f" ({value.layout})"
    return f"{value.dtype} {list(value.shape)}{layout}"


def facts_to_save(config: TrainConfig, data: DataFacts, metrics: dict[str, float]) -> dict[str, Any]:
    """Make the entry that turns a Lightning checkpoint into one of this project, in plain values."""
    facts = {
        "classes": list(data.classes),
        "preprocessing": data.preprocessing,
        "fingerprint": data.fingerprint,
    }
    return {_KEY: {"config": config.to_dict(), "data": facts, "metrics": metrics}}


def write_checkpoint(content: Mapping[str, Any], path: Path) -> None:
    """Write ``content``, tensors and plain values, whole or not at all."""
    with written_whole(path) as temporary, temporary.open("wb") as stream:
        # Errors of a stream name the operation that the system refused.
        torch.save(content, stream)


def read_checkpoint(path: Path) -> Checkpoint:
    """Open the checkpoint at ``path``, or in the run folder ``path``, without running code from it.

    The checksums (CRC-32) that the zip archive has for each tensor are checked.

    Raises:
        TrainingError: there is no checkpoint, it is damaged, or ``proxconnect train`` did not write it.
    """
    file = path / CHECKPOINT_FILE if path.is_dir() else path
    if not file.is_file():
        if (path / CONFIG_FILE).is_file():
            raise TrainingError(
                f"no checkpoint at {file}: no epoch of the run in {path} was completed; begin it anew with "
                f"--out {path} --overwrite"
            )
        raise TrainingError(f"no checkpoint at {file}: give a run folder or its file {CHECKPOINT_FILE!r}")
    _check_sums(file)
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
        ours = content[_KEY]
        config = TrainConfig.from_dict(ours["config"])
        data = DataFacts(
            _texts(ours["data"]["classes"]), ours["data"]["preprocessing"], str(ours["data"]["fingerprint"])
        )
        check_preprocessing(data.preprocessing)
        weights = {name.removeprefix("model."): value for name, value in content["state_dict"].items()}
        epoch = int(content["epoch"]) + 1
        metrics = {str(name): float(value) for name, value in ours["metrics"].items()}
    except Exception as error:  # another content may raise any error
        raise _no_checkpoint(file, error) from error
    return Checkpoint(file, config, data, epoch, metrics, weights)


def _check_sums(file: Path) -> None:
    try:
        with zipfile.ZipFile(file) as archive:  # torch does not check the checksums
            damaged = archive.testzip()
    except Exception as error:  # damaged bytes may raise any error
        raise _no_checkpoint(file, error) from error
    if damaged is not None:
        raise TrainingError(
            f"{file} is damaged: the checksum of its part {damaged} is wrong; fetch it again, or take another"
        )


def _no_checkpoint(file: Path, error: Exception) -> TrainingError:
    return TrainingError(f"{file} is not a checkpoint of 'proxconnect train' ({first_line(error)})")


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(name, str) for name in value):
        raise TypeError(f"classes are {value!r}, expected a list of names")
    return tuple(value)
