"""A callback with which a Trainer of Lightning trains a binarized model."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from torch import Tensor

from proxconnect.base.optional import needed_for
from proxconnect.errors import ProxConnectError
from proxconnect.integrations.loops import regroup_latents_
from proxconnect.optim import Schedule, TrainingRun, training

with needed_for("proxconnect.integrations.lightning"):
    from lightning.pytorch import Callback, LightningModule, Trainer


class ProxConnectCallback(Callback):
    """Does in Lightning what :func:`pc.training` does in a plain loop.

    It moves the latents into parameter groups of their own (:func:`regroup_latents_`), moves ``mu`` with
    every step of the optimizer, clips the latents, logs ``mu``, flips and distances after each epoch under
    the names ``proxconnect/...``, and at the end warns if hardening would move the weights far. Checkpoints
    hold its state. Schedulers of the LightningModule go on moving the learning rates; without one, they
    follow the curve of :func:`pc.training`.

    Args:
        schedule: kind, start and end of ``mu``; by default the one that suits the method.
        recalibrate: inputs for the statistics of BatchNorm at the end, see :func:`pc.training`.
        groups: options of :func:`regroup_latents_`.

    Raises:
        ProxConnectError: when the fit starts: the module has no binarized layers, it has several optimizers,
            or the number of steps is unknown, as for a loader without length.

    >>> from proxconnect.integrations.lightning import ProxConnectCallback
    >>> from lightning.pytorch import Trainer
    >>> trainer = Trainer(callbacks=[ProxConnectCallback()], logger=False, enable_checkpointing=False)
    """

    def __init__(
        self, schedule: Schedule | None = None, recalibrate: Iterable[Tensor] | None = None, **groups: Any
    ) -> None:
        self._schedule, self._recalibrate, self._groups = schedule, recalibrate, groups
        self._run: TrainingRun | None = None
        self._state: dict[str, Any] | None = None

    def on_fit_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Give the latents groups of their own, before the state of the optimizer is loaded."""
        if len(trainer.optimizers) != 1:
            raise ProxConnectError(
                "ProxConnectCallback follows one optimizer, and configure_optimizers made "
                f"{len(trainer.optimizers)}"
            )
        schedulers = [config.scheduler for config in trainer.lr_scheduler_configs]
        regroup_latents_(trainer.optimizers[0], module, schedulers=schedulers, **self._groups)

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Begin to follow the optimizer."""
        steps = trainer.estimated_stepping_batches
        if not math.isfinite(steps) or steps < 1:
            raise ProxConnectError("the number of steps is unknown: give the Trainer max_steps")
        self._run = training(
            module,
            trainer.optimizers[0],
            steps=int(steps),
            schedule=self._schedule,
            lr_curve=not trainer.lr_scheduler_configs,
            recalibrate=self._recalibrate,
        )
        if self._state is not None:
            self._run.load_state_dict(self._state)
        self._run.__enter__()

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Log the statistics."""
        if self._run is not None:
            values = self._run.statistics()
            module.log_dict({f"proxconnect/{name}": float(value) for name, value in values.items()})

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Look at the result, unless the fit was interrupted."""
        self._leave(trainer.interrupted)

    def on_exception(self, trainer: Trainer, module: LightningModule, error: BaseException) -> None:
        """Stop following the optimizer."""
        self._leave(interrupted=True)

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {} if self._run is None else self._run.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Keep the state of a checkpoint until training starts."""
        self._state = state or None

    def _leave(self, interrupted: bool) -> None:
        run, self._run = self._run, None
        if run is not None:
            error = KeyboardInterrupt() if interrupted else None
            run.__exit__(type(error) if error else None, error, None)
