"""Callbacks that log statistics of the layers and the times of an epoch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn

from proxconnect.data import Batches
from proxconnect.layers import Accumulator, AccumulatorSums, collect_accumulators
from proxconnect.optim import (
    flip_rates,
    latent_histograms,
    layer_statistics,
    overall,
    signs_of,
    weight_gradients,
)
from proxconnect.trainer.epoch_table import HISTOGRAM_COLUMNS
from proxconnect.trainer.module import Classifier


class LayerStatistics(Callback):
    """Measures the binarized layers once an epoch, and logs the total of each statistic.

    ``flip_rate`` is the share of binary weights whose sign changed in the epoch. ``overflow_rate`` is the
    share of sums at the epoch's last step that do not fit their accumulators. :func:`layer_statistics`
    describes the other statistics, which are taken at the epoch's last gradient. A total is the mean over all
    latents.

    ``layers`` holds, by the name of the weight, the statistics of the epoch before, the number of
    ``elements``, and the histogram of the latents at its end, see :func:`latent_histogram`.
    """

    def __init__(self) -> None:
        self.layers: dict[str, dict[str, float]] = {}
        self._watching = ExitStack()
        self._gradients: dict[str, Tensor] | None = None
        self._sums = AccumulatorSums()
        self._statistics: dict[str, dict[str, float]] = {}

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Remember the signs."""
        self._signs = signs_of(model_of(module))

    def on_train_batch_start(
        self, trainer: Trainer, module: LightningModule, batch: Any, batch_index: int
    ) -> None:
        """Watch the epoch's last gradient."""
        if batch_index + 1 == trainer.num_training_batches:
            model = model_of(module)
            self._watching.enter_context(
                torch.compiler.set_stance("force_eager")
            )  # compiled code runs no hooks
            self._gradients = self._watching.enter_context(weight_gradients(model))
            if any(isinstance(module, Accumulator) for module in model.modules()):
                self._sums = self._watching.enter_context(collect_accumulators(model))

    def on_after_backward(self, trainer: Trainer, module: LightningModule) -> None:
        """Take the statistics of the layers before the optimizer moves them."""
        if self._gradients is not None:
            self._statistics = layer_statistics(model_of(module), self._gradients)
            for layer, rate in self._sums.overflow_rates().items():
                self._statistics.setdefault(f"{layer}.weight", {})["overflow_rate"] = rate
            self._stop_watching()

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Compare with the signs now, and log."""
        now = signs_of(model_of(module))
        layers = {
            name: {"flip_rate": rate, **self._statistics.get(name, {})}
            for name, rate in flip_rates(self._signs, now).items()
        }
        sizes = {name: signs.numel() for name, signs in now.items()}
        module.log_dict(overall(layers, sizes))
        histograms = latent_histograms(model_of(module))
        self.layers = {
            name: {
                "elements": sizes[name],
                **statistics,
                **dict(zip(HISTOGRAM_COLUMNS, histograms[name], strict=True)),
            }
            for name, statistics in layers.items()
        }

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        """Remove the hooks."""
        self._stop_watching()

    def _stop_watching(self) -> None:
        self._watching.close()
        self._gradients = None
        self._sums = AccumulatorSums()


def model_of(module: LightningModule) -> nn.Module:
    """Return the model that ``module`` trains."""
    assert isinstance(module, Classifier)
    return module.model


class TimedBatches:
    """Batches that count the seconds in which they are made."""

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
    """Logs ``epoch_seconds``, the time of training, and ``data_share``, the input pipeline's part of it."""

    def __init__(self, batches: TimedBatches) -> None:
        self.batches = batches

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Start the clock."""
        self._start, self._data = time.perf_counter(), self.batches.seconds
        self._validation = 0.0

    def on_validation_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Start the clock of validation, which runs inside the epoch and is not training."""
        self._validation_start = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Stop the clock of validation."""
        self._validation += time.perf_counter() - self._validation_start

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Stop the clock."""
        seconds = time.perf_counter() - self._start - self._validation
        data = self.batches.seconds - self._data
        module.log_dict({"epoch_seconds": seconds, "data_share": data / seconds})
