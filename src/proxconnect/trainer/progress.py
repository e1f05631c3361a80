"""Progress on the terminal: a bar within an epoch, a line after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lightning import Callback, LightningModule, Trainer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

_COLUMNS = (
    ("loss", "train_loss", "{:.4f}"),
    ("accuracy", "train_accuracy", "{:.4f}"),
    ("val loss", "val_loss", "{:.4f}"),
    ("val accuracy", "val_accuracy", "{:.4f}"),
    ("mu", "mu", "{:.3g}"),
    ("flips", "flip_rate", "{:.2%}"),
    ("to levels", "level_distance", "{:.3f}"),
    ("not exact", "outside_exact", "{:.1%}"),
    ("killed", "gradient_killed", "{:.1%}"),
    ("overflows", "overflow_rate", "{:.1%}"),
    ("data", "data_share", "{:.1%}"),
    ("seconds", "epoch_seconds", "{:.0f}"),
)


def _line(values: Mapping[str, Any]) -> str:
    return "  ".join(
        f"{title} {form.format(float(values[key]))}" for title, key, form in _COLUMNS if key in values
    )


class EpochLines(Callback):
    """Prints one line of metrics after each epoch."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self.show = show

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Print the logged metrics."""
        self.show(
            f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  {_line(trainer.callback_metrics)}"
        )


class EpochBar(Callback):
    """A progress bar with loss and accuracy so far, mu, and the flip rate of the epoch before."""

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
        logged = trainer.callback_metrics
        values = {name: total / (batch_index + 1) for name, total in self._sums.items()}
        values |= {name: float(logged[name]) for name in ("mu", "flip_rate") if name in logged}
        self._bar.update(self._task, advance=1, values=_line(values))

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
