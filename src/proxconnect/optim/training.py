"""A context that moves everything a training loop has to move beside the weights."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from proxconnect.base.metrics import find_alarms, metrics_line
from proxconnect.base.notice import notice
from proxconnect.errors import ProxConnectError
from proxconnect.layers import activation_quantizers, binarized_weights, recalibrate_, warn_if_far
from proxconnect.optim.clipping import clip_latents
from proxconnect.optim.defaults import default_schedule
from proxconnect.optim.learning_rate import learning_rate_factor
from proxconnect.optim.prox_optimizer import ProxOptimizer, check_holds_latents
from proxconnect.optim.schedule import MuSchedule, Schedule
from proxconnect.optim.statistics import flip_rates, layer_statistics, overall, signs_of
from proxconnect.quantizers import ForwardBackward

MU_FRACTION = 0.85
"""The share of the steps after which mu has reached its end, unless a run says otherwise."""


def training(
    model: nn.Module,
    optimizer: Optimizer,
    *,
    steps: int,
    schedule: Schedule | None = None,
    lr_curve: bool = True,
    recalibrate: Iterable[Tensor] | None = None,
) -> TrainingRun:
    """Make the context in which a plain loop trains a binarized model.

    Within the context, every step of the optimizer also

    - moves ``mu`` along the schedule that suits the method, which reaches its end after 85 % of the steps,
    - moves the learning rates: 5 % of the steps warm up, then a cosine falls to 0,
    - clips the latents of parameter groups that have a ``latent_clip``.

    At the end, it warns if the loop took too few steps or if hardening would move the weights far. It
    computes the statistics of BatchNorm for the hardened network, and gives the optimizer its learning rates
    back. After an exception it does the last alone.

    Args:
        model: a model with binarized layers.
        optimizer: any torch optimizer, or a :class:`ProxOptimizer`, that holds the latents of the model. One
            that Accelerate has prepared is followed too.
        steps: how often the loop will call ``optimizer.step()``.
        schedule: kind, start and end of ``mu`` as a :class:`Schedule`; by default :func:`default_schedule` of
            the method.
        lr_curve: False leaves the learning rates alone, for a scheduler of your own.
        recalibrate: input tensors for the statistics of BatchNorm, best augmented as in training. They are
            read at the end. None leaves BatchNorm as it is.

    Raises:
        ProxConnectError: the model has no binarized layers, the optimizer does not hold its latents,
            ``steps`` is not a positive integer, the layers' methods want different schedules and none is
            given, or there is something to recalibrate with and no BatchNorm.

    >>> import torch, proxconnect as pc
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(*(torch.nn.Linear(8, 8) for _ in range(3)))
    >>> model = pc.binarize_(model, pc.BinarizeConfig("bnn++"))
    >>> optimizer = torch.optim.Adam(pc.param_groups(model, lr=2e-3, latent_lr=2e-2, latent_lr_relative=True))
    >>> with pc.training(model, optimizer, steps=20) as run:
    ...     for _ in range(20):
    ...         loss = model(torch.randn(32, 8)).square().mean()
    ...         optimizer.zero_grad()
    ...         loss.backward()
    ...         optimizer.step()
    >>> run.mu
    300.0
    """
    return TrainingRun(model, optimizer, steps, schedule, lr_curve, recalibrate)


class TrainingRun:
    """A training loop that is under way, as :func:`training` makes it."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        steps: int,
        schedule: Schedule | None,
        lr_curve: bool,
        recalibrate: Iterable[Tensor] | None,
    ) -> None:
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise ProxConnectError(
                "steps must be the number of all steps of the optimizer, such as epochs * len(loader), "
                f"not {steps!r}"
            )
        weights = list(binarized_weights(model))
        if not weights:
            raise ProxConnectError("training needs a model with binarized layers; call binarize_ first")
        inner = getattr(optimizer, "optimizer", None)  # that of Accelerate's wrapper, which has no hooks
        optimizer = inner if isinstance(inner, Optimizer) else optimizer
        check_holds_latents(optimizer, weights)
        if recalibrate is not None and not any(hasattr(module, "running_mean") for module in model.modules()):
            raise ProxConnectError(
                "there is no BatchNorm to recalibrate in this model: leave recalibrate= out"
            )
        rule = optimizer.rule if isinstance(optimizer, ProxOptimizer) else "pc"
        self.model = model
        self.optimizer = optimizer
        self.steps = steps
        self._recalibrate = recalibrate
        chosen = _suitable((w.quantizer.pair for w in weights), rule) if schedule is None else schedule
        self._schedules = {"weights": MuSchedule(model, chosen, steps=steps, fraction=MU_FRACTION)}
        inputs = [quantizer.pair for _, _, quantizer in activation_quantizers(model)]
        if inputs:
            self._schedules["activations"] = MuSchedule(
                model, _suitable(inputs, "pc"), steps=steps, fraction=MU_FRACTION, of="activations"
            )
        self._peaks = [deepcopy(group["lr"]) for group in optimizer.param_groups] if lr_curve else None
        self._hooks: list[RemovableHandle] = []
        self._signs, self._looked_at = signs_of(self.model), 0

    @property
    def count(self) -> int:
        """The number of steps that were taken."""
        return self._schedules["weights"].count

    @property
    def mu(self) -> float:
        """The present sharpness of the weights."""
        return self._schedules["weights"].mu

    def __enter__(self) -> Self:
        """Begin to follow the optimizer."""
        if self._hooks:
            raise ProxConnectError("this training is under way: make another one with pc.training")
        self._hooks = [
            clip_latents(self.optimizer, self.model),
            self.optimizer.register_step_post_hook(self._stepped),
        ]
        self._set_rates()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop following the optimizer; without an exception, look at the result and recalibrate."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        if self._peaks is not None:
            _give_rates(self.optimizer, self._peaks)
        if error is not None:
            return
        weights = self._schedules["weights"]
        if weights.kind != "constant" and weights.count < weights.moving:
            notice(
                f"training ended after {self.count} of the {self.steps} steps of pc.training, at mu "
                f"{self.mu:.3g} instead of {weights.end:g}, so hardening will change the weights: "
                "make it with as many steps as the loop takes, or train on"
            )
        elif self._recalibrate is None:
            warn_if_far(self.model)
        if self._recalibrate is not None:
            recalibrate_(self.model, self._recalibrate, hardened=True)

    @torch.no_grad()
    def statistics(self) -> dict[str, float]:
        """Return the progress of the run, as the means over all latents.

        Keys are ``step``, ``mu``, ``flip_rate`` (the share of signs that changed in the steps since
        the last call, or since the beginning; absent if there were none) and those of
        :func:`layer_statistics`.
        """
        layers = layer_statistics(self.model)
        sizes = {name: signs.numel() for name, signs in self._signs.items()}
        if self.count > self._looked_at:
            before, self._signs, self._looked_at = self._signs, signs_of(self.model), self.count
            for name, rate in flip_rates(before, self._signs).items():
                layers.setdefault(name, {})["flip_rate"] = rate
        return {"step": self.count, "mu": self.mu, **overall(layers, sizes)}

    def report(self, **values: float) -> str:
        """Return a line with the :meth:`statistics`, and one for each number that is alarming.

        Args:
            values: further numbers for the line: ``train_loss``, ``train_accuracy``, ``val_loss`` and
                ``val_accuracy``. Other names are left out of it.

        >>> import torch, proxconnect as pc
        >>> model = pc.binarize_(torch.nn.Linear(8, 4), pc.BinarizeConfig("bc"), lambda module, name: True)
        >>> run = pc.training(model, torch.optim.Adam(model.parameters()), steps=100)
        >>> run.report(train_loss=2.5)
        'step 0/100  loss 2.5000  mu 1  binary 100.0%'
        """
        done = self.count / self.steps
        values = {**self.statistics(), **values}
        line = metrics_line(f"step {self.count}/{self.steps}", values, done=done)
        return "\n".join([line, *find_alarms(values, done).values()])

    def go_to(self, step: int) -> None:
        """Go on at this step, where the loop that resumes counts the steps itself; load the model before.

        Raises:
            ProxConnectError: the run has fewer steps.
        """
        schedules = {name: {"count": step} for name in self._schedules}
        self.load_state_dict({**self.state_dict(), "schedules": schedules})

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs beside the states of the model and the optimizer."""
        schedules = {name: schedule.state_dict() for name, schedule in self._schedules.items()}
        return {"steps": self.steps, "peaks": self._peaks, "schedules": schedules}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the run of a :meth:`state_dict` was; load model and optimizer before.

        Raises:
            ProxConnectError: the state is that of a run of another length, or with other schedules.
        """
        if state["steps"] != self.steps or state["schedules"].keys() != self._schedules.keys():
            raise ProxConnectError(
                f"the state is that of a training of {state['steps']} steps which moves the mu of "
                f"{' and '.join(state['schedules'])}; this one has {self.steps} steps and moves that of "
                f"{' and '.join(self._schedules)}: make it as it was"
            )
        for name, schedule in self._schedules.items():
            schedule.load_state_dict(state["schedules"][name])
        self._peaks = state["peaks"]
        self._signs, self._looked_at = signs_of(self.model), self.count
        self._set_rates()

    def _stepped(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        for schedule in self._schedules.values():
            schedule.step()
        self._set_rates()

    def _set_rates(self) -> None:
        if self._peaks is not None:
            factor = learning_rate_factor(self.count, self.steps)
            _give_rates(self.optimizer, [factor * peak for peak in self._peaks])


def _suitable(pairs: Iterable[ForwardBackward], rule: str) -> Schedule:
    """Return the one schedule that suits all pairs; the mu of ``bc`` changes nothing, so any suits it."""
    wanted = {pair.name: default_schedule(pair, rule) for pair in pairs}
    if len(set(wanted.values())) > 1:
        wanted.pop("bc", None)
    if len(set(wanted.values())) > 1:
        names = ", ".join(f"{name}: {schedule}" for name, schedule in wanted.items())
        raise ProxConnectError(
            f"the methods of the layers want different schedules ({names}); give schedule="
        )
    return next(iter(wanted.values()))


def _give_rates(optimizer: Optimizer, rates: Iterable[float | Tensor]) -> None:
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        if isinstance(group["lr"], Tensor):  # an optimizer that is captured or compiled
            group["lr"].copy_(torch.as_tensor(rate))
        else:
            group["lr"] = float(rate)
