"""Callbacks that write what a run reports: its tables, its curves and the file of TensorBoard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

from proxconnect.errors import MissingPackageError, TrainingError
from proxconnect.layers import binarized_weights, is_sharded
from proxconnect.trainer.callbacks import LayerStatistics, model_of
from proxconnect.trainer.curves import draw_curves
from proxconnect.trainer.epoch_table import LAYERS_COLUMNS, METRICS_COLUMNS, EpochTable
from proxconnect.trainer.folder import CURVES_FILE, LAYERS_FILE, METRICS_FILE, TENSORBOARD_FOLDER

_BINS = 64


class Tables(Callback):
    """Adds each epoch to ``metrics.csv`` and ``layers.csv``, and draws ``curves.png`` at the end.

    The tables are written before the epoch's checkpoint. A resumed run drops the rows of an epoch whose
    checkpoint was never written.

    Args:
        out: the folder of the run.
        statistics: the callback that measures the layers, which has to come before this one.
    """

    def __init__(self, out: Path, statistics: LayerStatistics) -> None:
        self.out = out
        self.statistics = statistics
        self.metrics = EpochTable(out / METRICS_FILE, METRICS_COLUMNS)
        self.layers = EpochTable(out / LAYERS_FILE, LAYERS_COLUMNS)

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Take over the rows of a run that is resumed."""
        for table in (self.metrics, self.layers):
            table.begin(trainer.current_epoch)

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Write the rows of the epoch."""
        epoch = trainer.current_epoch + 1
        logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.metrics.add(epoch, [{"step": trainer.global_step, **logged}])
        if self.statistics.layers:
            self.layers.add(epoch, self._rows())

    def _rows(self) -> Iterator[dict[str, float | str]]:
        for name, values in self.statistics.layers.items():
            yield {"weight": name, **values}

    def on_fit_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Draw the curves, also of a finished run that was killed before they were drawn."""
        self._draw()

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        """Draw the curves of a run that was interrupted or diverged."""
        if isinstance(exception, (KeyboardInterrupt, TrainingError)):
            self._draw()

    def _draw(self) -> None:
        with suppress(MissingPackageError):  # matplotlib is not needed for training
            draw_curves(self.out / METRICS_FILE, self.out / CURVES_FILE)


class EventFile(Callback):
    """Writes the numbers of ``metrics.csv``, and a histogram of each layer's latents, for TensorBoard.

    The scalars have the names of the columns. The histograms are those of ``w*/s``. Nothing is written if
    TensorBoard is not installed.

    Args:
        out: the folder of the run.
    """

    def __init__(self, out: Path) -> None:
        self.folder = out / TENSORBOARD_FOLDER
        self._writer: Any = None

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Begin a file; TensorBoard forgets what an earlier file has of the epochs that are trained again."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ModuleNotFoundError:
            return
        self._writer = SummaryWriter(str(self.folder), purge_step=trainer.current_epoch + 1)

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Write scalars and histograms of the epoch."""
        if self._writer is None:
            return
        epoch = trainer.current_epoch + 1
        for name, value in trainer.callback_metrics.items():
            if name in METRICS_COLUMNS:
                self._writer.add_scalar(name, float(value), epoch)
        for found in binarized_weights(model_of(module)):
            if is_sharded(found.latent):
                continue  # this process writes alone, and a histogram would need the parts of all
            latents = found.quantizer.normalized(found.latent.detach()).float().cpu()
            self._writer.add_histogram(f"latents/{found.name}", latents, epoch, bins=_BINS)
        self._writer.flush()

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Close the file."""
        self._close()

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        """Close the file, unless it is the disk that refused."""
        if isinstance(exception, (KeyboardInterrupt, TrainingError)):
            self._close()

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
