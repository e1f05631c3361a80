"""The Lightning trainer, set up for one run."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch import nn

from proxconnect.base.files import cannot_write
from proxconnect.data import Batches, ImageData
from proxconnect.errors import TrainingError, WriteError
from proxconnect.trainer._process import SHARDED, is_main_process, machines
from proxconnect.trainer._rejoin import join_again
from proxconnect.trainer.callbacks import EpochTimes, LayerStatistics, TimedBatches
from proxconnect.trainer.checkpoint import DataFacts, facts_to_save, write_checkpoint
from proxconnect.trainer.config import TrainConfig
from proxconnect.trainer.distill import Distillation
from proxconnect.trainer.folder import CHECKPOINT_FILE
from proxconnect.trainer.interruption import interrupted
from proxconnect.trainer.module import Classifier
from proxconnect.trainer.plan import leaves_out_last
from proxconnect.trainer.precision import fastest_precision
from proxconnect.trainer.progress import EpochBar, EpochLines
from proxconnect.trainer.reports import EventFile, Tables
from proxconnect.trainer.sharding import FullyShardedStrategy, shard_, share_buffers_


def fit(
    model: nn.Module,
    config: TrainConfig,
    data: ImageData,
    facts: DataFacts,
    out: Path,
    checkpoint: Path | None,
    distillation: Distillation | None,
    show: Callable[[str], None],
) -> dict[str, float]:
    """Train ``model`` in place with the Lightning trainer, from ``checkpoint`` on if there is one.

    Returns:
        The metrics of the last epoch.
    """
    # fully_shard divides contiguous weights alone.
    if config.channels_last and config.strategy != SHARDED:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    train, val = _batches(config, data)
    module = _Run(model, config, facts, train, val, distillation, show)
    statistics = LayerStatistics()
    callbacks: list[Callback] = [statistics, EpochTimes(module.timed)]
    if is_main_process():
        bar = [EpochBar()] if sys.stdout.isatty() else []
        callbacks += [Tables(out, statistics), EventFile(out), *bar, EpochLines(show)]
    with _quiet_lightning():
        trainer = _trainer(
            config,
            max_epochs=config.epochs,
            callbacks=[*callbacks, _checkpoint_every_epoch(out)],
            logger=False,
            plugins=[WholeCheckpointIO()],
            limit_train_batches=config.limit_train_batches,
            limit_val_batches=config.limit_val_batches,
            reload_dataloaders_every_n_epochs=1,
            num_sanity_val_steps=0,
            enable_model_summary=False,
            enable_progress_bar=False,
        )
        join_again(trainer.strategy.root_device)
        with _interruptible(trainer, out, config.pair):
            trainer.fit(module, ckpt_path=checkpoint, weights_only=True)
    return _metrics(trainer)


def check_hardware(config: TrainConfig, data: ImageData) -> None:
    """Refuse hardware that Lightning does not find, and batches that do not go round.

    Raises:
        TrainingError: the accelerator, the number of devices or the strategy is not available.
        DataError: a batch has fewer images than there are devices.
    """
    with _quiet_lightning():
        _trainer(config, logger=False, enable_checkpointing=False)
    for batches in _batches(config, data):
        batches.set_part(0, config.devices)


def _trainer(config: TrainConfig, **options: Any) -> Trainer:
    hardware: dict[str, Any] = {
        "accelerator": config.accelerator,
        "devices": config.devices,
        "strategy": config.strategy,
    }
    sharded = {"strategy": FullyShardedStrategy(config.devices)} if config.strategy == SHARDED else {}
    placed = {"devices": config.devices // machines(), "num_nodes": machines()}
    try:
        return Trainer(**{**hardware, **placed, **sharded}, **options)
    except (MisconfigurationException, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        options_text = ", ".join(f"--{name} {value}" for name, value in hardware.items())
        raise TrainingError(f"Lightning cannot train with {options_text}: {reason}") from error


def _batches(config: TrainConfig, data: ImageData) -> tuple[Batches, Batches]:
    both = partial(
        Batches,
        batch_size=config.images_per_step,
        mean=data.mean,
        std=data.std,
        channels_last=config.channels_last,
    )
    last = leaves_out_last(config, len(data.train))
    train = both(data.train, augmentation=data.augmentation, shuffle=True, seed=config.seed, drop_last=last)
    return train, both(data.val)


@contextmanager
def _interruptible(trainer: Trainer, out: Path, pair: str | None) -> Iterator[None]:
    # On Ctrl-C Lightning ignores all further ones and exits the process. A library must do neither.
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise TrainingError(
            "BatchNorm cannot train on a single value for each channel: the batches have one image, and a "
            "layer sees one pixel of it; pass a larger --batch-size or --image-size"
        ) from error
    except OSError as error:  # the event file of TensorBoard cannot be written
        raise WriteError(cannot_write(Path(error.filename or out), error)) from error
    except SystemExit:
        if not trainer.interrupted:
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt(interrupted(out, pair)) from None


def _metrics(trainer: Trainer) -> dict[str, float]:
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


class _Run(Classifier):
    """A :class:`Classifier` with its data; its checkpoints are those that :func:`read_checkpoint` reads."""

    def __init__(
        self,
        model: nn.Module,
        config: TrainConfig,
        facts: DataFacts,
        train: Batches,
        val: Batches,
        distillation: Distillation | None,
        show: Callable[[str], None],
    ) -> None:
        steps_per_epoch = min(len(train), config.limit_train_batches or len(train))
        super().__init__(model, config, steps_per_epoch, distillation, config.precision)
        self.show = show
        self.facts = facts
        self.timed = TimedBatches(train)
        self.validation = val

    def configure_model(self) -> None:
        """Divide the model among the processes if the strategy is fsdp2."""
        if self.config.strategy == SHARDED:
            assert self.device_mesh is not None
            shard_(self.model, self.device_mesh["data_parallel"])

    def on_validation_start(self) -> None:
        """Take the first process's statistics of BatchNorm, as DDP does in each step."""
        if self.config.strategy == SHARDED:
            share_buffers_(self.model)

    def on_fit_start(self) -> None:
        """Choose the precision if it is "auto"."""
        super().on_fit_start()
        if self.precision == "auto":
            batches = self.timed.batches
            images = next(iter(batches))[0].to(self.device)
            show = self.show if is_main_process() else lambda line: None
            self.precision = fastest_precision(self.model, images, show)

    def train_dataloader(self) -> TimedBatches:
        """Return this process's part of the epoch's batches.

        Batches are a function of seed and epoch, so a resumed run gets the batches of an uninterrupted run.
        """
        self.timed.batches.set_part(self.trainer.global_rank, self.trainer.world_size)
        self.timed.batches.set_epoch(self.current_epoch)
        self.timed.batches.set_device(self.device)
        return self.timed

    def val_dataloader(self) -> Batches:
        """Return this process's part of the validation batches, in order."""
        self.validation.set_part(self.trainer.global_rank, self.trainer.world_size)
        self.validation.set_device(self.device)
        return self.validation

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the configuration and the facts about the data."""
        super().on_save_checkpoint(checkpoint)
        checkpoint.update(facts_to_save(self.config, self.facts, _metrics(self.trainer)))


def _checkpoint_every_epoch(out: Path) -> ModelCheckpoint:
    callback = ModelCheckpoint(
        out,
        filename=CHECKPOINT_FILE,
        save_top_k=1,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    callback.FILE_EXTENSION = ""
    return callback


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep Lightning's greetings and its advice about data loaders off the terminal.

    Errors in TensorBoard's thread about a full disk are kept off as well: the next write of a log raises them
    again.
    """
    loggers = [logging.getLogger(f"lightning.{part}") for part in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    before = threading.excepthook

    def tell(failure: threading.ExceptHookArgs) -> None:
        if not (isinstance(failure.exc_value, OSError) and _is_tensorboards(failure.thread)):
            before(failure)

    for logger in loggers:
        logger.setLevel(logging.WARNING)
    threading.excepthook = tell
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            yield
    finally:
        threading.excepthook = before
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _is_tensorboards(thread: threading.Thread | None) -> bool:
    return type(thread).__module__.startswith("tensorboard.")


class WholeCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoint files, fsynced and renamed into place."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write ``checkpoint`` to ``path``, whole or not at all."""
        write_checkpoint(checkpoint, Path(path))
