"""The start of a run from the full-precision run that ``init`` names, or from pretrained weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import Tensor

from proxconnect.errors import TrainingError
from proxconnect.trainer.checkpoint import Checkpoint, DataFacts, initialised_model, read_checkpoint
from proxconnect.trainer.config import TrainConfig


def read_start(config: TrainConfig) -> Checkpoint | None:
    """Open the checkpoint that ``config.init`` names; None without ``init``.

    Raises:
        TrainingError: there is no checkpoint, or it is not of full precision.
    """
    return None if config.init is None else full_precision("--init", Path(config.init))


def inherit(config: TrainConfig, start: Checkpoint | None) -> TrainConfig:
    """Fill in the model, data and image size that ``config`` leaves open with those of the run ``start``.

    The data comes with the share to validate on. In the settings ``fp`` and ``bw`` a ResNet comes with its
    block and nonlinearity; binary activations need others than the default ones of full precision.
    """
    if start is None:
        return config
    names = ["image_size"]
    if config.model in (None, start.config.model):
        names += ["model"] if config.setting in ("bwa", "bwaa") else ["model", "block", "nonlinearity"]
    if config.data is None or start.config.same_data(config.data):
        names += ["data", "split"]
    taken = {name: getattr(start.config, name) for name in names if getattr(config, name) is None}
    return replace(config, **taken)


def initial_weights(
    start: Checkpoint | None, config: TrainConfig, facts: DataFacts
) -> dict[str, Tensor] | None:
    """Return the weights of ``start``, or pretrained ones, for a run of ``config``; None without a start.

    Raises:
        TrainingError: the start has other classes or another model, or it was trained on images that this run
            would validate on.
        ProxConnectError: the pretrained weights cannot be loaded.
    """
    if config.pretrained:
        return initialised_model(config, facts, pretrained=True).state_dict()
    if start is None:
        return None
    check_classes("--init", start, facts)
    theirs, ours = ({"model": run.model, **run.model_args} for run in (start.config, config))
    for name, value in ours.items():
        if theirs.get(name, value) != value:
            raise TrainingError(
                f"--init {config.init} has {name} {theirs[name]!r}, this run has {value!r}; "
                f"pass --{name} {theirs[name]}, or start from another checkpoint"
            )
    same_images = start.data.fingerprint == facts.fingerprint
    if same_images and start.config.split != config.split:
        raise TrainingError(
            f"--init {config.init} was trained on these pictures with split {start.config.split}, this run "
            f"has split {config.split} and would validate on some that it was trained on; leave --split out"
        )
    return start.weights


def full_precision(option: str, path: Path) -> Checkpoint:
    """Open the full-precision checkpoint at ``path``, which ``option`` names.

    Raises:
        TrainingError: there is no checkpoint, or it is not of full precision.
    """
    checkpoint = read_checkpoint(path)
    if checkpoint.config.setting != "fp":
        raise TrainingError(
            f"{option} needs a full-precision checkpoint; {path} has setting {checkpoint.config.setting!r}"
        )
    return checkpoint


def check_classes(option: str, checkpoint: Checkpoint, facts: DataFacts) -> None:
    """Refuse a checkpoint of other classes than those of the data ``facts``.

    Raises:
        TrainingError: the message names the classes.
    """
    if checkpoint.data.classes != facts.classes:
        raise TrainingError(
            f"{option} {checkpoint.path} has classes {checkpoint.data.classes!r}, this run has "
            f"{facts.classes!r}"
        )
