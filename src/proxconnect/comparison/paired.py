"""Statistics of paired differences: Student's interval, and the number of seeds that a difference needs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from proxconnect.base.optional import needed_for

CONFIDENCE = 0.95
_MOST_SEEDS = 10_000


def half_interval(differences: Sequence[float]) -> float:
    """Compute half the width of Student's 95 % interval of a mean: ``t sd / sqrt(n)``.

    Args:
        differences: one number for each seed, at least two.

    >>> round(half_interval([1.0, 2.0, 3.0]), 3)
    2.484
    """
    return smallest_told(statistics.stdev(differences), len(differences))


def seeds_needed(differences: Sequence[float]) -> int | None:
    """Find how many seeds make the interval exclude 0, if mean and standard deviation stay as they are.

    Args:
        differences: one number for each seed, at least two.

    Returns:
        The number, at least 2; None if the mean is 0 or more than 10,000 seeds are needed.

    >>> seeds_needed([1.0, 2.0, 3.0]), seeds_needed([0.9, 1.0, 1.1]), seeds_needed([-1.0, 1.0])
    (4, 2, None)
    """
    mean, spread = abs(statistics.mean(differences)), statistics.stdev(differences)
    if mean == 0:
        return None
    low, high = 2, _MOST_SEEDS
    if smallest_told(spread, high) >= mean:
        return None
    while low < high:  # more seeds always make the interval narrower
        middle = (low + high) // 2
        low, high = (low, middle) if smallest_told(spread, middle) < mean else (middle + 1, high)
    return low


def smallest_told(spread: float, seeds: int) -> float:
    """Compute the mean difference whose 95 % interval just reaches 0: ``t sd / sqrt(n)``.

    Args:
        spread: the standard deviation of the differences over seeds.
        seeds: their number, at least two.

    >>> round(smallest_told(1.0, 5), 2), round(smallest_told(1.0, 30), 2)
    (1.24, 0.37)
    """
    return _student(seeds) * spread / math.sqrt(seeds)


def _student(count: int) -> float:
    with needed_for("An interval of several seeds"):
        from scipy.special import stdtrit

    return float(stdtrit(count - 1, 0.5 + CONFIDENCE / 2))
