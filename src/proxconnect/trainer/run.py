"""One training run, which turns a configuration into a checkpoint and logs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from proxconnect.base.optional import needed_for
from proxconnect.data import ImageData, load_data, preprocessing
from proxconnect.errors import DataError, TrainingError
from proxconnect.trainer._process import SHARDED, is_main_process, with_processes
from proxconnect.trainer.checkpoint import DataFacts, build_model, read_checkpoint
from proxconnect.trainer.config import TrainConfig
from proxconnect.trainer.distill import Distillation
from proxconnect.trainer.folder import (
    CHECKPOINT_FILE,
    CONFIG_FILE,
    clean_folder,
    is_continued,
    prepare_folder,
    write_config,
    write_launch,
)
from proxconnect.trainer.plan import busy_lines, plan_lines, steps_per_epoch
from proxconnect.trainer.post_training import quantize_trained, settle_checkpoint
from proxconnect.trainer.resuming import extend, read_run, resumed_config
from proxconnect.trainer.start import check_classes, full_precision, inherit, initial_weights, read_start


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

    Processes that torchrun starts anew, after one of them failed, continue the run in ``out``.

    With ``init``, the model, data and image size that are None are those of the run that it names. The first
    line that is shown is the plan of the run.

    Raises:
        TrainingError: ``out`` is not empty and ``overwrite`` is False, the configuration contradicts itself,
            or the loss is not finite.
        DataError: the data cannot be read, or all images are of one class.
        WriteError: ``out`` cannot be written to.
    """
    if is_continued(out):
        if (out / CHECKPOINT_FILE).is_file():
            return resume(out, _given(config), show=show)
        overwrite = overwrite or (out / CONFIG_FILE).is_file()  # the first epoch was not completed
    start = read_start(config)
    config = inherit(with_processes(config, config.devices), start).resolved()
    data = _load(config)
    config = config.for_images(len(data.train))
    facts = _facts(data)
    model = build_model(config, facts, initial_weights(start, config, facts))
    distillation = _distillation(config, data, facts, model)
    if config.epochs:
        # Lightning takes seconds to import, so only a run that trains imports it.
        with needed_for("Training"):
            from proxconnect.trainer.fit import check_hardware
        check_hardware(config, data)
    if is_main_process():
        prepare_folder(out, overwrite)
        write_config(config, out)
        write_launch(out)
    return _fit(model, config, data, facts, out, None, distillation, show)


def resume(out: Path, changes: Mapping[str, Any], *, show: Callable[[str], None] = print) -> TrainedRun:
    """Continue the run in ``out`` exactly where its last whole epoch ended.

    More ``epochs`` extend the run. The learning rate and mu then go on along the curves of the longer run,
    and a line says where they jump to.

    Args:
        out: the folder of the run.
        changes: options that are given again; their values have to be those that the run began with, except
            ``epochs``, which may be more, and the hardware: accelerator, devices and strategy. If the run has
            a ``pair``, it has to be given again: a file does not choose what is imported.
        show: receives the lines to print.

    Raises:
        TrainingError: there is no checkpoint, an option differs (each is named), the epochs are fewer, or the
            data changed.
        WriteError: ``out`` cannot be written to.
    """
    checkpoint = read_run(out)
    config = with_processes(resumed_config(out, checkpoint, changes), changes.get("devices")).resolved()
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
    if is_main_process():
        if config.epochs != checkpoint.config.epochs:
            show(extend(out, checkpoint, config, model, steps_per_epoch(config, len(data.train))))
        show(f"continues after epoch {checkpoint.epoch} of {config.epochs}")
    distillation = _distillation(config, data, facts, model)
    run = _fit(model, config, data, facts, out, checkpoint.path, distillation, show)
    # A run that was finished already trains no epoch and measures nothing again.
    return run if run.metrics else replace(run, metrics=checkpoint.metrics)


def _given(config: TrainConfig) -> dict[str, Any]:
    """Return the options that are not those by default."""
    default = TrainConfig().to_dict()
    return {name: value for name, value in config.to_dict().items() if value != default[name]}


def _load(config: TrainConfig) -> ImageData:
    data = load_data(str(config.data), image_size=config.image_size, val_share=config.split)
    labels = data.train.labels.unique()
    if len(labels) < 2:
        raise DataError(
            f"all images to train on in {config.data} are of one class, {data.classes[int(labels)]!r}, so "
            "there is nothing to tell apart; expected train/<class>/<image>, or labels of two classes or more"
        )
    return data


def _facts(data: ImageData) -> DataFacts:
    return DataFacts(data.classes, preprocessing(data), data.fingerprint)


def _distillation(
    config: TrainConfig, data: ImageData, facts: DataFacts, model: nn.Module
) -> Distillation | None:
    if config.teacher is None:
        return None
    checkpoint = full_precision("--teacher", Path(config.teacher))
    check_classes("--teacher", checkpoint, facts)
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
    if is_main_process():
        for line in (*plan_lines(config, data), *busy_lines()):
            show(line)
    if not config.epochs:
        metrics = quantize_trained(model, config, data, facts, out)
        return TrainedRun(model, config, data, out / CHECKPOINT_FILE, metrics)
    with needed_for("Training"):
        from proxconnect.trainer.fit import fit

    metrics = fit(model, config, data, facts, out, checkpoint, distillation, show)
    if config.strategy != SHARDED:
        model.cpu().eval()
    elif is_main_process():  # which has a part of the model alone
        model = read_checkpoint(out).build_model(config.own_pair)
    if config.recalibrate and is_main_process():
        settle_checkpoint(model, config, data, out)
    return TrainedRun(model, config, data, out / CHECKPOINT_FILE, metrics)
