"""Resuming of a run: its configuration, its result if it is finished, or more epochs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from proxconnect.base.files import content_of
from proxconnect.errors import TrainingError
from proxconnect.optim import learning_rate_factor
from proxconnect.trainer.checkpoint import Checkpoint, facts_to_save, read_checkpoint, write_checkpoint
from proxconnect.trainer.config import HARDWARE, TrainConfig
from proxconnect.trainer.folder import MODEL_FILE, RESULT_FILE, write_config

_SCHEDULES = ("mu_schedule", "activation_schedule")


def read_run(out: Path) -> Checkpoint:
    """Open the checkpoint of the run in the folder ``out``.

    Raises:
        TrainingError: ``out`` is no folder, or it has no checkpoint.
    """
    if out.is_file():
        raise TrainingError(f"--resume takes the folder of a run, not a file: pass {out.parent}")
    return read_checkpoint(out)


def resumed_config(out: Path, checkpoint: Checkpoint, changes: Mapping[str, Any]) -> TrainConfig:
    """Return the configuration of a run with the options ``changes``: more epochs, or other hardware.

    Raises:
        TrainingError: another option differs (each is named), or the run cannot have that number of epochs.
    """
    _check_pair(out, checkpoint.config.pair, changes.get("pair"))
    config = checkpoint.config.resolved()  # fills in options that an older release did not record
    changed = TrainConfig(**{**config.to_dict(), **changes}).resolved()
    recorded, given = config.to_dict(), changed.to_dict()
    differences = [
        f"{key} was {recorded[key]!r}, now {given[key]!r}"
        for key in recorded
        if key not in ("epochs", *HARDWARE) and recorded[key] != given[key]
    ]
    if differences:
        raise TrainingError(
            f"cannot resume {out} with another configuration: {'; '.join(differences)}. "
            "Leave these options out, or start a new run with --init or another --out"
        )
    if changed.epochs != config.epochs:
        _check_extension(out, checkpoint, changed.epochs)
    hardware = {name: getattr(changed, name) for name in HARDWARE}
    return replace(config, epochs=changed.epochs, **hardware)


def finished_result(out: Path, changes: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the result of the run in ``out`` if it is finished and ``changes`` ask for no further epoch.

    Raises:
        TrainingError: as for :func:`resumed_config`.
    """
    checkpoint = read_run(out)
    if checkpoint.epoch < resumed_config(out, checkpoint, changes).epochs:
        return None
    if not (out / MODEL_FILE).is_file():
        return None
    try:
        result = json.loads(content_of(out / RESULT_FILE))
    except (OSError, ValueError):  # the run was killed before it was written
        return None
    return result if isinstance(result, dict) else None


def extend(
    out: Path, checkpoint: Checkpoint, config: TrainConfig, model: nn.Module, steps_per_epoch: int
) -> str:
    """Make the run in ``out`` one of ``config.epochs`` epochs, and say what becomes of its curves.

    The learning rate and mu go on along the curves of the longer run. The packed model and the result of the
    shorter one are removed; the next packing makes them again.

    Args:
        out: the folder of the run.
        checkpoint: its checkpoint.
        config: its configuration, with more epochs.
        model: a model of this configuration; its mu is moved to that of the longer curve.
        steps_per_epoch: the steps in an epoch.
    """
    from proxconnect.trainer.module import Classifier

    content = torch.load(checkpoint.path, map_location="cpu", weights_only=True)
    mu = content.get("mu_schedule", {}).get("mu")
    for name in _SCHEDULES:
        if name in content:
            content[name] = {"count": content[name]["count"]}  # the mu of the shorter curve is no mistake
    share = learning_rate_factor(checkpoint.epoch * steps_per_epoch, config.epochs * steps_per_epoch)
    groups = [group for state in content["optimizer_states"] for group in state["param_groups"]]
    before = groups[0]["lr"]
    for group in groups:
        group["lr"] = group["initial_lr"] * share
    words = f"the learning rate goes from {before:.3g} to {groups[0]['lr']:.3g}"
    if mu is not None:
        longer = Classifier(model, config, steps_per_epoch)
        longer.on_load_checkpoint(content)
        assert longer.mu_schedule is not None
        words += f", mu from {mu:.3g} to {longer.mu_schedule.mu:.3g}"
    content.update(facts_to_save(config, checkpoint.data, checkpoint.metrics))
    write_checkpoint(content, checkpoint.path)
    write_config(config, out)
    for name in (RESULT_FILE, MODEL_FILE):
        (out / name).unlink(missing_ok=True)
    return (
        f"extended from {checkpoint.config.epochs} to {config.epochs} epochs, and the curves with it: behind "
        f"epoch {checkpoint.epoch} {words}, as in a run of {config.epochs} epochs"
    )


def _check_pair(out: Path, recorded: str | None, given: str | None) -> None:
    if recorded == given:
        return
    if recorded is None:
        raise TrainingError(f"cannot resume {out} with --pair {given}: it was begun without; leave it out")
    raise TrainingError(
        f"the run in {out} was begun with the pair {recorded}, which is imported only where you name it: add "
        f"--pair {recorded}"
    )


def _check_extension(out: Path, checkpoint: Checkpoint, epochs: int) -> None:
    begun = checkpoint.config.epochs
    if not begun:
        raise TrainingError(f"the run in {out} has no training to extend; start a new run with --init")
    if epochs < begun:
        raise TrainingError(
            f"the run in {out} was begun with {begun} epochs, of which {checkpoint.epoch} are done: --epochs "
            f"{epochs} would shorten it; give more than {begun}, or start a new run with another --out"
        )
