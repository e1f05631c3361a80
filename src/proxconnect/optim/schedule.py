"""Schedules of the sharpness mu over training."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn

from proxconnect.base.notice import notice
from proxconnect.errors import ProxConnectError, unknown_name
from proxconnect.layers import activation_quantizers, binarized_weights
from proxconnect.layers.distance import warn_if_open
from proxconnect.optim._watch import LoopWatch

PARQ_STEEPNESS = 10.0  # the default of PARQ's own implementation
LARGEST_MU = torch.finfo(torch.float32).max
"""The largest ``mu`` that the float32 buffers of the layers hold."""

# Beyond a sharpness of about 10 hardly a weight flips any more (docs/results/findings.md).
SETTLED_MU = 10.0
# The late schedule spends 8/9 of its time on the first part of the way; from 1 to 300 that part ends at 10.
_LATE_TIME, _LATE_WAY = 8 / 9, math.log(SETTLED_MU) / math.log(300)


def _exponential(start: float, end: float, progress: float) -> float:
    return float(start * (end / start) ** progress)


def _late(start: float, end: float, progress: float) -> float:
    if progress <= _LATE_TIME:
        return _exponential(start, end, _LATE_WAY * progress / _LATE_TIME)
    rest = (progress - _LATE_TIME) / (1 - _LATE_TIME)
    return _exponential(start, end, _LATE_WAY + (1 - _LATE_WAY) * rest)


def _cosine(start: float, end: float, progress: float) -> float:
    return start + (end - start) * (1 - math.cos(math.pi * progress)) / 2


def _reste(start: float, end: float, progress: float) -> float:
    return start + (end - start) * (1 - math.cos(math.pi * progress / 2))


def _parq(start: float, end: float, progress: float) -> float:
    def falling(p: float) -> float:
        return 1 / (1 + math.exp(PARQ_STEEPNESS * (p - 0.5)))

    share = (falling(progress) - falling(1)) / (falling(0) - falling(1))
    return 1 / (share / start + (1 - share) / end)


# IR-Net's t = 10^(-1 + 2p) is (start, end) = (0.1, 10) of the exponential form: "ede" is its name here.
SCHEDULES: dict[str, Callable[[float, float, float], float]] = {
    "constant": lambda start, end, progress: start,
    "linear": lambda start, end, progress: start + (end - start) * progress,
    "exponential": _exponential,
    "late": _late,
    "cosine": _cosine,
    "ede": _exponential,
    "reste": _reste,
    "parq": _parq,
}
_FROM_ZERO = ("linear", "cosine", "reste")


class Schedule(NamedTuple):
    """The kind, start and end of the sharpness ``mu``, for :func:`training` and :class:`MuSchedule`.

    :class:`MuSchedule` has the formulas of the kinds; it checks the values when it takes them.

    Args:
        kind: ``"constant"``, ``"linear"``, ``"exponential"``, ``"late"``, ``"cosine"``, ``"ede"``,
            ``"reste"`` or ``"parq"``.
        start: the first ``mu``.
        end: the last ``mu``; None for ``"constant"``.

    >>> import proxconnect as pc
    >>> pc.optim.default_schedule("bnn++")
    Schedule(kind='late', start=1, end=300)
    >>> pc.optim.default_schedule("bnn++")._replace(end=100)
    Schedule(kind='late', start=1, end=100)
    """

    kind: str
    start: float
    end: float | None = None


class MuSchedule:
    """A schedule that moves the sharpness ``mu`` of every binarized layer from ``start`` to ``end``.

    Call :meth:`step` once in every training step. After ``i`` calls the progress is
    ``p = min(i / (fraction steps), 1)``, and ``mu`` is:

    =============  ======================================================================================
    constant       ``start``
    linear         ``start + (end - start) p``
    exponential    ``start (end / start)^p``
    late           ``start (end / start)^q``, where ``q`` grows to 0.404 while ``p <= 8/9``, and then to 1:
                   from 1 to 300 it passes 10 there. Weights keep flipping for longer, and the quantizer
                   closes late
    cosine         ``start + (end - start) (1 - cos(pi p)) / 2``
    ede            another name of exponential: IR-Net (arXiv 1909.10788) has ``10^(-1 + 2p)``, 0.1 to 10
    reste          ``start + (end - start) (1 - cos(pi p / 2))``: ReSTE (arXiv 2308.06689), 1 to 3
    parq           ``1/mu = 1/end + (1/start - 1/end) S(p)``, where ``S`` falls from 1 to 0 as a
                   logistic function of steepness 10: PARQ (arXiv 2503.15748), whose slope parameter is
                   ``1/mu``
    =============  ======================================================================================

    ``mu`` is a float32 buffer of each layer. The schedule sets it when it is made and at each step, in any
    training loop. :func:`default_schedule` returns the schedule that suits a method. The schedule warns when
    it is made if a forward quantizer approaches its levels neither as ``mu`` grows nor at ``end``.

    Args:
        model: a model with binarized layers.
        kind: a name of the table, or a :class:`Schedule` as :func:`default_schedule` returns it, which has a
            start and an end.
        start: the first sharpness: a positive number, or 0 in the linear, cosine and reste forms, for methods
            whose ``mu`` is a strength (``binary-relax``, and the rule ``pq``).
        end: the last sharpness, a positive number; None for ``"constant"``.
        steps: the number of all training steps; a further call of :meth:`step` is refused. None is possible
            for ``"constant"``, which then never ends.
        fraction: share of the steps after which ``end`` is reached; ``mu`` stays there for the rest.
        of: ``"weights"``, or ``"activations"`` for the quantizers of the layers' inputs.

    Raises:
        ProxConnectError: the kind is unknown, a value is out of range, or the model has no such quantizers.

    >>> import torch, proxconnect as pc
    >>> layer = pc.binarize_(torch.nn.Linear(8, 4), pc.BinarizeConfig(), filter_fn=lambda module, name: True)
    >>> schedule = pc.MuSchedule(layer, "exponential", start=1, end=16, steps=3, fraction=0.67)
    >>> for _ in range(3):
    ...     print(schedule.mu)
    ...     schedule.step()
    1.0
    4.0
    16.0
    >>> schedule.check_finished()
    """

    def __init__(
        self,
        model: nn.Module,
        kind: str | Schedule = "exponential",
        *,
        start: float | None = None,
        end: float | None = None,
        steps: int | None = None,
        fraction: float = 1.0,
        of: str = "weights",
    ) -> None:
        if isinstance(kind, Schedule):
            if not (start is None and end is None):
                raise ProxConnectError(
                    f"{kind} has a start and an end: leave start={start!r} and end={end!r} out, or give "
                    "its kind alone"
                )
            kind, start, end = kind
        start = 1.0 if start is None else start
        if kind not in SCHEDULES:
            raise ProxConnectError(unknown_name("schedule", kind, SCHEDULES))
        if (end is None) != (kind == "constant"):
            raise ProxConnectError(
                f"a {kind} schedule takes {'no' if kind == 'constant' else 'an'} end, got {end!r}"
            )
        end = start if end is None else end
        for name, value in (("start", start), ("end", end)):
            zero = name == "start" and value == 0 and kind in _FROM_ZERO
            if not (zero or 0 < value <= LARGEST_MU):
                raise ProxConnectError(f"{name} must be a positive number, not {value!r}")
        if steps is None and kind != "constant":
            raise ProxConnectError(f"a {kind} schedule takes steps, the number of all training steps")
        if steps is not None and steps < 1:
            raise ProxConnectError(f"steps must be at least 1, not {steps!r}")
        if not 0 < fraction <= 1:
            raise ProxConnectError(f"fraction is a share of the steps, at most 1, not {fraction!r}")
        self._quantizers = _quantizers(model, of)
        self._watch = LoopWatch(binarized_weights(model)) if of == "weights" else None
        self.kind, self.start, self.end = kind, float(start), float(end)
        self.steps = math.inf if steps is None else steps
        self.moving = 1 if steps is None else max(1, int(fraction * steps))
        self.count = 0
        self._set()
        warn_if_open(((quantizer.pair, _levels(quantizer)) for quantizer in self._quantizers), self.end)

    @property
    def mu(self) -> float:
        """The present sharpness."""
        return SCHEDULES[self.kind](self.start, self.end, min(self.count / self.moving, 1.0))

    def step(self) -> None:
        """Count one training step and set the ``mu`` of the layers.

        Warns once if the first steps show that the optimizer did not take some of them, as under gradient
        accumulation, or that an optimizer shrinks the latents by weight decay.

        Raises:
            ProxConnectError: training goes on beyond the schedule's ``steps``.
        """
        if self.count == self.steps:
            raise ProxConnectError(
                f"training goes on after the {self.steps} steps of its mu schedule: make the schedule with "
                "all training steps as steps=, and with fraction= where mu is to reach its end before"
            )
        if self._watch is not None and not self._watch.stepped():
            self._watch = None
        self.count += 1
        self._set()

    def check_finished(self) -> None:
        """Refuse a ``mu`` that has not reached its end; call this after training.

        Raises:
            ProxConnectError: training was shorter than the schedule.
        """
        if self.kind != "constant" and self.count < self.moving:
            raise ProxConnectError(
                f"training ended after {self.count} steps, but its mu schedule reaches {self.end:g} after "
                f"{self.moving}: mu is {self.mu:.3g}; make the schedule with as many steps, or train on"
            )

    def state_dict(self) -> dict[str, Any]:
        """Return the number of counted steps and the present ``mu``; a resumed run needs nothing else."""
        return {"count": self.count, "mu": self.mu}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a :meth:`state_dict`.

        Warns if ``mu`` jumps, as when the state of a finished schedule is loaded into a longer schedule.

        Raises:
            ProxConnectError: the state counts more steps than the schedule has.
        """
        if not 0 <= state["count"] <= self.steps:
            raise ProxConnectError(
                f"the state counts {state['count']} steps, but this schedule has {self.steps}; "
                "make it with the steps it had"
            )
        self.count = int(state["count"])
        before = state.get("mu", self.mu)
        if not math.isclose(before, self.mu, rel_tol=1e-6):
            notice(
                f"the state was saved after {self.count} steps at mu {before:.6g}, where this schedule has "
                f"mu {self.mu:.6g}: go on with the start, end, steps and fraction it had, or make a new "
                f"schedule that starts at {before:.6g} for further steps"
            )
        self._set()

    def _set(self) -> None:
        mu = self.mu
        for quantizer in self._quantizers:
            quantizer.set_mu(mu)


def _levels(quantizer: Any) -> tuple[float, ...]:
    """Return the levels that hardening gives what the quantizer makes."""
    config = getattr(quantizer, "config", None)
    return (-1.0, 1.0) if config is None else tuple(config.levels)


def _quantizers(model: nn.Module, of: str) -> list[Any]:
    if of == "weights":
        found: list[Any] = [found.quantizer for found in binarized_weights(model)]
    elif of == "activations":
        found = [quantizer for _, _, quantizer in activation_quantizers(model)]
    else:
        raise ProxConnectError(f"of must be 'weights' or 'activations', not {of!r}")
    if not found:
        need = "layers" if of == "weights" else "activations"
        raise ProxConnectError(f"a mu schedule needs a model with binarized {need}; call binarize_ first")
    return found
