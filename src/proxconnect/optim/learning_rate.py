"""The course of the learning rate in a training run."""

from __future__ import annotations

import math

_WARM_UP = 0.05


def learning_rate_factor(step: int, steps: int) -> float:
    """Return the share of the peak learning rate at ``step`` of ``steps``.

    The share grows linearly over the first 5 % of the steps and then falls along a cosine to 0.

    >>> [round(learning_rate_factor(step, 100), 2) for step in (0, 4, 5, 52, 100)]
    [0.2, 1.0, 1.0, 0.51, 0.0]
    """
    warm_up = max(1, round(_WARM_UP * steps))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm_up) / max(1, steps - warm_up))))
