"""One training run, which turns a configuration into a checkpoint and logs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from proxconnect.base.files import written_whole
from proxconnect.base.optional import needed_for
from proxconnect.data import ImageData, load_data, preprocessing
from proxconnect.errors import DataError, TrainingError
from proxconnect.trainer._process import is_main_process
from proxconnect.trainer.checkpoint import Checkpoint, DataFacts, build_model, read_checkpoint
from proxconnect.trainer.config import TrainConfig
from proxconnect.trainer.distill import Distillation
from proxconnect.trainer.folder import CHECKPOINT_FILE, CONFIG_FILE, clean_folder, prepare_folder
from proxconnect.trainer.post_training import quantize_trained, settle_checkpoint


@dataclass(frozen=True)
class TrainedRun:
    """The result of :func:`train`: the model, its configuration and data, the checkpoint and the metrics."""

    model: nn.Module
    config: TrainConfig
    data: ImageData
    checkpoint: Path
    metrics: dict[str, float]


def train(
    config: TrainConfig, out: Path, *, overwrite: bool = False, show: Callable[[str], None] = print
) -> TrainedRun:
    """Train as ``config`` says; checkpoint, configuration and logs go to the folder ``out``.

    Raises:
        TrainingError: ``out`` is not empty and ``overwrite`` is False, the configuration contradicts itself,
            or the loss is not finite.
        DataError: the data cannot be read, or all images are of one class.
        WriteError: ``out`` cannot be written to.
    """
    config = config.resolved()
    data = _load(config)
    facts = _facts(data)
    weights = None if config.init is None else _initial_weights(Path(config.init), config, facts)
    model = build_model(config, facts, weights)
    distillation = _distillation(config, data, facts, model)
    if config.epochs:
        # Lightning takes seconds to import, so only a run that trains imports it.
        with needed_for("Training"):
            from proxconnect.trainer.fit import check_hardware
        check_hardware(config, data)
    if is_main_process():
        prepare_folder(out, overwrite)
        with written_whole(out / CONFIG_FILE) as file:
            file.write_text(json.dumps(config.to_dict(), indent=2) + "\n")
    return _fit(model, config, data, facts, out, None, distillation, show)


def resume(out: Path, changes: Mapping[str, Any], *, show: Callable[[str], None] = print) -> TrainedRun:
    """Continue the run in ``out`` exactly where its last whole epoch ended.

    Args:
        out: the folder of the run.
        changes: options that are given again; their values have to be those that the run began with. If the
            run has a ``pair``, it has to be given again: a file does not choose what is imported.
        show: receives the lines to print.

    Raises:
        TrainingError: there is no checkpoint, an option differs (each is named), or the data changed.
        WriteError: ``out`` cannot be written to.
    """
    if out.is_file():
        raise TrainingError(f"--resume takes the folder of a run, not a file: pass {out.parent}")
    checkpoint = read_checkpoint(out)
    _check_pair(out, checkpoint.config.pair, changes.get("pair"))
    config = checkpoint.config.resolved()  # fills in options that an older release did not record
    recorded = config.to_dict()
    given = TrainConfig(**{**recorded, **changes}).resolved().to_dict()
    differences = [
        f"{key} was {recorded[key]!r}, now {given[key]!r}" for key in recorded if recorded[key] != given[key]
    ]
    if differences:
        raise TrainingError(
            f"cannot resume {out} with another configuration: {'; '.join(differences)}. "
            "Leave these options out, or start a new run with --init or another --out"
        )
    data = _load(config)
    facts = _facts(data)
    if facts != checkpoint.data:
        raise TrainingError(
            f"cannot resume {out}: the data at {config.data!r} is not what the run began with"
        )
    if is_main_process():
        clean_folder(out)
    if not config.epochs:
        model = checkpoint.build_model(config.own_pair)
        return TrainedRun(model, config, data, checkpoint.path, checkpoint.metrics)
    model = build_model(config, facts)
    distillation = _distillation(config, data, facts, model)
    run = _fit(model, config, data, facts, out, checkpoint.path, distillation, show)
    # A run that was finished already trains no epoch and measures nothing again.
    return run if run.metrics else replace(run, metrics=checkpoint.metrics)


def _check_pair(out: Path, recorded: str | None, given: str | None) -> None:
    if recorded == given:
        return
    if recorded is None:
        raise TrainingError(f"cannot resume {out} with --pair {given}: it was begun without; leave it out")
    raise TrainingError(
        f"the run in {out} was begun with the pair {recorded}, which is imported only where you name it: add "
        f"--pair {recorded}"
    )


def _load(config: TrainConfig) -> ImageData:
    data = load_data(str(config.data), image_size=config.image_size)
    labels = data.train.labels.unique()
    if len(labels) < 2:
        raise DataError(
            f"all images to train on in {config.data} are of one class, {data.classes[int(labels)]!r}, so "
            "there is nothing to tell apart; expected train/<class>/<image>, or labels of two classes or more"
        )
    return data


def _facts(data: ImageData) -> DataFacts:
    return DataFacts(data.classes, preprocessing(data), data.fingerprint)


def _initial_weights(path: Path, config: TrainConfig, facts: DataFacts) -> dict[str, torch.Tensor]:
    checkpoint = _full_precision("--init", path, facts)
    theirs, ours = ({"model": run.model, **run.model_args} for run in (checkpoint.config, config))
    for name, value in ours.items():
        if theirs.get(name, value) != value:
            raise TrainingError(
                f"--init {path} has {name} {theirs[name]!r}, this run has {value!r}; "
                f"pass --{name} {theirs[name]}, or start from another checkpoint"
            )
    return checkpoint.weights


def _distillation(
    config: TrainConfig, data: ImageData, facts: DataFacts, model: nn.Module
) -> Distillation | None:
    if config.teacher is None:
        return None
    checkpoint = _full_precision("--teacher", Path(config.teacher), facts)
    if checkpoint.data.preprocessing != facts.preprocessing:
        raise TrainingError(
            f"--teacher {config.teacher} was trained on images prepared otherwise "
            f"({checkpoint.data.preprocessing}, here {facts.preprocessing}); train it on this data"
        )
    distillation = Distillation(
        checkpoint.build_model(),
        weight=config.distill_weight,
        temperature=config.distill_temperature,
        features=config.feature_names,
        feature_weight=config.distill_feature_weight,
    )
    distillation.check(model, torch.zeros(2, *data.train.shape, dtype=torch.float32, device="cpu"))
    return distillation


def _full_precision(option: str, path: Path, facts: DataFacts) -> Checkpoint:
    checkpoint = read_checkpoint(path)
    if checkpoint.config.setting != "fp":
        raise TrainingError(
            f"{option} needs a full-precision checkpoint; {path} has setting {checkpoint.config.setting!r}"
        )
    if checkpoint.data.classes != facts.classes:
        raise TrainingError(
            f"{option} {path} has classes {checkpoint.data.classes!r}, this run has {facts.classes!r}"
        )
    return checkpoint


def _fit(
    model: nn.Module,
    config: TrainConfig,
    data: ImageData,
    facts: DataFacts,
    out: Path,
    checkpoint: Path | None,
    distillation: Distillation | None,
    show: Callable[[str], None],
) -> TrainedRun:
    if not config.epochs:
        metrics = quantize_trained(model, config, data, facts, out)
        return TrainedRun(model, config, data, out / CHECKPOINT_FILE, metrics)
    with needed_for("Training"):
        from proxconnect.trainer.fit import fit

    metrics = fit(model, config, data, facts, out, checkpoint, distillation, show)
    model.cpu().eval()
    if config.recalibrate and is_main_process():
        settle_checkpoint(model, config, data, out)
    return TrainedRun(model, config, data, out / CHECKPOINT_FILE, metrics)
