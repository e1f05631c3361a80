"""What a run measures about itself."""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from proxconnect.data import Batches
from proxconnect.layers import binarized_weights


class FlipRate(Callback):
    """Logs ``flip_rate``: the share of binary weights whose sign changed in the epoch."""

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Remember the signs."""
        self._signs = _signs(module)

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Compare with the signs now."""
        if self._signs.numel():
            flips = (_signs(module) != self._signs).float().mean()
            module.log("flip_rate", flips)


def _signs(module: LightningModule) -> Tensor:
    latents = [(found.latent >= 0).flatten() for found in binarized_weights(module)]
    return torch.cat(latents) if latents else torch.empty(0, dtype=torch.bool)


class TimedBatches:
    """Batches that count the seconds spent making them."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches
        self.seconds = 0.0

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        iterator = iter(self.batches)
        while True:
            start = time.perf_counter()
            batch = next(iterator, None)
            self.seconds += time.perf_counter() - start
            if batch is None:
                return
            yield batch


class EpochTimes(Callback):
    """Logs ``epoch_seconds`` (training alone) and ``data_share``, the input pipeline's part of it."""

    def __init__(self, batches: TimedBatches) -> None:
        self.batches = batches

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Start the clock."""
        self._start, self._data = time.perf_counter(), self.batches.seconds
        self._validation = 0.0

    def on_validation_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Validation runs inside the epoch and is not training."""
        self._validation_start = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Set validation's time aside."""
        self._validation += time.perf_counter() - self._validation_start

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Stop the clock."""
        seconds = time.perf_counter() - self._start - self._validation
        data = self.batches.seconds - self._data
        module.log_dict({"epoch_seconds": seconds, "data_share": data / seconds})
