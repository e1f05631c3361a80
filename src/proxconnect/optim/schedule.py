"""The sharpness mu over training."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import nn

from proxconnect.errors import ProxConnectError, unknown_name
from proxconnect.layers import binarized_weights

SCHEDULES: dict[str, Callable[[float, float, float], float]] = {
    "constant": lambda start, end, progress: start,
    "linear": lambda start, end, progress: start + (end - start) * progress,
    "exponential": lambda start, end, progress: start * (end / start) ** progress,
}


class MuSchedule:
    """Move the sharpness ``mu`` of every binarized layer from ``start`` to ``end`` in ``steps`` steps.

    With progress ``p = min(i / steps, 1)`` after ``i`` calls of :meth:`step`: ``start`` (``"constant"``),
    ``start + (end - start) p`` (``"linear"``) or ``start (end / start)^p`` (``"exponential"``). ``mu`` lives
    in the layers' buffers, in float32; the schedule sets it at once and then at each step, in any loop.

    Args:
        model: a model with binarized layers.
        kind: ``"constant"``, ``"linear"`` or ``"exponential"``.
        start: sharpness at first, a positive number.
        end: sharpness from ``steps`` on, a positive number; ``"constant"`` takes none.
        steps: how many calls of :meth:`step` lead from ``start`` to ``end``.

    Raises:
        ProxConnectError: an unknown kind, a sharpness that is not positive and finite, ``steps`` below 1, or
            a model without binarized layers.

    >>> import torch, proxconnect as pc
    >>> layer = pc.binarize_(torch.nn.Linear(8, 4), pc.BinarizeConfig(), filter_fn=lambda module, name: True)
    >>> schedule = pc.MuSchedule(layer, "exponential", start=1, end=16, steps=2)
    >>> for _ in range(3):
    ...     print(schedule.mu)
    ...     schedule.step()
    1.0
    4.0
    16.0
    """

    def __init__(
        self,
        model: nn.Module,
        kind: str = "exponential",
        *,
        start: float = 1.0,
        end: float | None = None,
        steps: int = 1,
    ) -> None:
        if kind not in SCHEDULES:
            raise ProxConnectError(unknown_name("schedule", kind, SCHEDULES))
        if (end is None) != (kind == "constant"):
            raise ProxConnectError(
                f"a {kind} schedule takes {'no' if kind == 'constant' else 'an'} end, got {end!r}"
            )
        end = start if end is None else end
        for name, value in (("start", start), ("end", end)):
            if not (value > 0 and math.isfinite(value)):
                raise ProxConnectError(f"{name} must be a positive number, not {value!r}")
        if steps < 1:
            raise ProxConnectError(f"steps must be at least 1, not {steps!r}")
        self._quantizers = [found.quantizer for found in binarized_weights(model)]
        if not self._quantizers:
            raise ProxConnectError("a mu schedule needs a model with binarized layers; call binarize_ first")
        self.kind, self.start, self.end, self.steps = kind, float(start), float(end), steps
        self.count = 0
        self._set()

    @property
    def mu(self) -> float:
        """The present sharpness."""
        progress = min(self.count / self.steps, 1.0)
        return float(SCHEDULES[self.kind](self.start, self.end, progress))

    def step(self) -> None:
        """Count one training step and set the layers' ``mu``."""
        self.count += 1
        self._set()

    def state_dict(self) -> dict[str, Any]:
        """How many steps were counted: all that a resumed run needs."""
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a :meth:`state_dict`."""
        self.count = int(state["count"])
        self._set()

    def _set(self) -> None:
        for quantizer in self._quantizers:
            quantizer.mu.fill_(self.mu)
