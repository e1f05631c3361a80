"""The Lightning trainer, set up for one run."""

from __future__ import annotations

import logging
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch import nn

from proxconnect._files import written_whole
from proxconnect.data import Batches, ImageData
from proxconnect.trainer.callbacks import EpochTimes, FlipRate, TimedBatches
from proxconnect.trainer.checkpoint import FILE_NAME, DataFacts, facts_to_save
from proxconnect.trainer.config import TrainConfig
from proxconnect.trainer.module import Classifier
from proxconnect.trainer.progress import EpochBar, EpochLines


def fit(
    model: nn.Module,
    config: TrainConfig,
    data: ImageData,
    facts: DataFacts,
    out: Path,
    checkpoint: Path | None,
    show: Callable[[str], None],
) -> dict[str, float]:
    """Train ``model`` in place with the Lightning trainer, from ``checkpoint`` on if there is one.

    Returns:
        The metrics of the last epoch.
    """
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # twice as fast on a CPU
    batches = partial(Batches, batch_size=config.batch_size, mean=data.mean, std=data.std)
    train = batches(data.train, augmentation=data.augmentation, shuffle=True, seed=config.seed)
    steps = min(len(train), config.limit_train_batches or len(train)) * config.epochs
    module = _Run(model, config, steps, facts, train, batches(data.val))
    callbacks: list[Callback] = [
        FlipRate(),
        EpochTimes(module.timed),
        *([EpochBar()] if sys.stdout.isatty() else []),
        EpochLines(show),
        _checkpoint_every_epoch(out),
    ]
    with _quiet_lightning():
        trainer = Trainer(
            max_epochs=config.epochs,
            accelerator="auto",
            devices=1,
            callbacks=callbacks,
            logger=[CSVLogger(out, name="csv"), TensorBoardLogger(out, name="tensorboard", version="")],
            plugins=[WholeCheckpointIO()],
            limit_train_batches=config.limit_train_batches,
            limit_val_batches=config.limit_val_batches,
            reload_dataloaders_every_n_epochs=1,
            num_sanity_val_steps=0,
            enable_model_summary=False,
            enable_progress_bar=False,
        )
        with _interruptible(trainer, out):
            trainer.fit(module, ckpt_path=checkpoint, weights_only=True)
    return _metrics(trainer)


@contextmanager
def _interruptible(trainer: Trainer, out: Path) -> Iterator[None]:
    # Lightning answers Ctrl-C by ignoring further ones and exiting the process: a library may do neither.
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit:
        if not trainer.interrupted:
            raise
        signal.signal(signal.SIGINT, handler)
        how = (
            f"continue with: proxconnect train --resume {out}"
            if (out / FILE_NAME).is_file()
            else "no epoch was completed"
        )
        raise KeyboardInterrupt(f"interrupted; {how}") from None


def _metrics(trainer: Trainer) -> dict[str, float]:
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


class _Run(Classifier):
    """A :class:`Classifier` with its data, which writes what :func:`read_checkpoint` reads."""

    def __init__(
        self,
        model: nn.Module,
        config: TrainConfig,
        steps: int,
        facts: DataFacts,
        train: Batches,
        val: Batches,
    ) -> None:
        super().__init__(model, config, steps)
        self.facts = facts
        self.timed = TimedBatches(train)
        self.validation = val

    def train_dataloader(self) -> TimedBatches:
        """The epoch's batches: their order depends on seed and epoch alone, so resuming is exact."""
        self.timed.batches.set_epoch(self.current_epoch)
        return self.timed

    def val_dataloader(self) -> Batches:
        """Validation batches, in order."""
        return self.validation

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add configuration and data facts."""
        super().on_save_checkpoint(checkpoint)
        checkpoint.update(facts_to_save(self.config, self.facts, _metrics(self.trainer)))


def _checkpoint_every_epoch(out: Path) -> ModelCheckpoint:
    callback = ModelCheckpoint(
        out, filename=FILE_NAME, save_top_k=1, save_on_train_epoch_end=True, enable_version_counter=False
    )
    callback.FILE_EXTENSION = ""
    return callback


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep Lightning's greetings and its advice about data loaders off the terminal."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            yield
    finally:
        logger.setLevel(level)


class WholeCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoint files, fsynced and renamed into place."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write ``checkpoint`` to ``path``, whole or not at all."""
        with written_whole(Path(path)) as temporary:
            torch.save(checkpoint, temporary)
