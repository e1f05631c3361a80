"""Progress on the terminal: a bar within an epoch, a line after it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from typing import Any

from lightning import Callback, LightningModule, Trainer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from proxconnect.base.metrics import find_alarms, metrics_line


class EpochLines(Callback):
    """Prints one line of numbers after each epoch, and below it what each new alarm means."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self.show = show
        self._explained: set[str] = set()

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Print the logged numbers."""
        assert trainer.max_epochs is not None
        epoch = trainer.current_epoch + 1
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        done, width = epoch / trainer.max_epochs, _terminal_width()
        self.show(metrics_line(f"epoch {epoch}/{trainer.max_epochs}", values, done=done, width=width))
        for column, text in find_alarms(values, done, width=width).items():
            if column not in self._explained:
                self._explained.add(column)
                self.show(text)


def _terminal_width() -> int | None:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


class EpochBar(Callback):
    """A progress bar with the epoch's loss and accuracy so far, and mu; it fits 80 columns."""

    def __init__(self) -> None:
        self._bar: Progress | None = None

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Show an empty bar."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, TextColumn("{task.fields[values]}"), transient=True)
        title = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        self._task: TaskID = self._bar.add_task(title, total=trainer.num_training_batches, values="")
        self._sums = {"train_loss": 0.0, "train_accuracy": 0.0}
        self._bar.start()

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_index: int
    ) -> None:
        """Move the bar."""
        assert self._bar is not None
        self._sums["train_loss"] += float(outputs["loss"])
        self._sums["train_accuracy"] += float(outputs["accuracy"])
        values = {name: total / (batch_index + 1) for name, total in self._sums.items()}
        if "mu" in trainer.callback_metrics:
            values["mu"] = float(trainer.callback_metrics["mu"])
        self._bar.update(self._task, advance=1, values=metrics_line("", values))

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Remove the bar."""
        self._stop()

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        """Remove the bar and give the terminal back."""
        self._stop()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
