"""A callback with which the Trainer of Hugging Face trains a binarized model."""

from __future__ import annotations

from typing import Any

from proxconnect.base.optional import needed_for
from proxconnect.integrations.loops import regroup_latents_
from proxconnect.layers import harden_
from proxconnect.optim import Schedule, TrainingRun, training

with needed_for("proxconnect.integrations.transformers", "transformers"):
    from transformers import Trainer, TrainerCallback


class ProxConnectCallback(TrainerCallback):
    """Does in the Trainer of Hugging Face what :func:`pc.training` does in a plain loop.

    It moves ``mu`` with every step of the optimizer, clips the latents, adds ``mu``, flips and distances to
    what the Trainer logs, under the names ``proxconnect/...``, and at the end warns if hardening would move
    the weights far. The scheduler of the Trainer goes on moving the learning rates. A resumed run goes on at
    the step that the Trainer counts. Make the optimizer with :class:`ProxConnectTrainer`, or give the Trainer
    ``optimizers=(torch.optim.AdamW(pc.param_groups(model)), None)``.

    Args:
        schedule: kind, start and end of ``mu``; by default the one that suits the method.
        harden: harden the model at the end, so that ``trainer.save_model`` writes bits and scales; see
            :func:`proxconnect.harden_`.

    Raises:
        ProxConnectError: when training starts: the model has no binarized layers.

    >>> from proxconnect.integrations.transformers import ProxConnectCallback
    >>> callbacks = [ProxConnectCallback(harden=True)]  # of a Trainer or a ProxConnectTrainer
    """

    def __init__(self, schedule: Schedule | None = None, harden: bool = False) -> None:
        self._schedule, self._harden = schedule, harden
        self._run: TrainingRun | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Begin to follow the optimizer."""
        self._run = training(
            given["model"], given["optimizer"], steps=state.max_steps, schedule=self._schedule, lr_curve=False
        )
        if state.global_step:
            self._run.go_to(state.global_step)
        self._run.__enter__()

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """Add the statistics to what is logged."""
        if self._run is None or logs is None:
            return
        values = {f"proxconnect/{name}": float(value) for name, value in self._run.statistics().items()}
        logs |= values  # for the callbacks behind this one
        state.log_history[-1] |= values

    def on_train_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Look at the result, and harden it if that was asked for."""
        run, self._run = self._run, None
        if run is None:
            return
        run.__exit__(None, None, None)
        if self._harden:
            harden_(run.model)


class ProxConnectTrainer(Trainer):
    """A Trainer of Hugging Face for binarized models: the callback and the right parameter groups.

    It is used as the Trainer is. ``Trainer`` makes the optimizer that its arguments ask for, and
    :func:`regroup_latents_` moves the latents into groups without weight decay. A
    :class:`ProxConnectCallback` with options of your own may be among the ``callbacks``.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        callbacks = self.callback_handler.callbacks
        own = [callback for callback in callbacks if isinstance(callback, ProxConnectCallback)]
        for callback in own:
            callbacks.remove(callback)
        # In front, so that the callbacks that report see the statistics too.
        callbacks[:0] = own or [ProxConnectCallback()]

    def create_optimizer(self, *args: Any, **options: Any) -> Any:
        """Make the optimizer, and give the latents groups of their own."""
        optimizer = super().create_optimizer(*args, **options)
        model: Any = self.model
        return regroup_latents_(optimizer, model)
