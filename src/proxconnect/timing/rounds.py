"""Interleaved measurements: every round runs all contenders, one after the other."""

from __future__ import annotations

import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

ROUNDS = 25
LEAST_SECONDS = 4e-3  # the least duration of one measurement
# The duration of untimed runs before a measurement: threads of other libraries spin on for milliseconds, and
# a core that was idle takes as long to reach its full speed.
WARM_SECONDS = 20e-3

Run = Callable[[], object]
Interval = tuple[float, float, float]


class SelfTimed(ABC):
    """A run that measures its own time, since this is not the time of a call."""

    @abstractmethod
    def seconds(self, repeats: int, warm_seconds: float = 0) -> float:
        """Measure the seconds of one run, after untimed runs for ``warm_seconds``, at least one."""

    def __call__(self) -> float:
        """Run once, and return the seconds."""
        return self.seconds(1)


def repeated(run: Run, repeats: int, warm_seconds: float = 0) -> float:
    """Measure the seconds of one call, after untimed calls for ``warm_seconds``, at least one."""
    start = time.perf_counter()
    run()
    while time.perf_counter() < start + warm_seconds:
        run()
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - start) / repeats


def rounds(runs: dict[str, Run], count: int = ROUNDS) -> dict[str, list[float]]:
    """Measure the seconds of each run, in ``count`` rounds of all runs."""
    repeats = {name: max(1, round(LEAST_SECONDS / _seconds(run, 3))) for name, run in runs.items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(count):
        for name, run in runs.items():
            times[name].append(_seconds(run, repeats[name]))
    return times


def median_interval(values: list[float]) -> Interval:
    """Compute the median and its 95 % interval from order statistics, with a normal approximation."""
    ordered, half = sorted(values), 0.98 * len(values) ** 0.5
    low, high = round(len(values) / 2 - half), round(len(values) / 2 + half)
    return statistics.median(ordered), ordered[max(low, 0)], ordered[min(high, len(values) - 1)]


def ratio(slower: list[float], faster: list[float]) -> Interval:
    """Compute the ratio of two times, round by round, as median and interval."""
    return median_interval([a / b for a, b in zip(slower, faster, strict=True)])


def _seconds(run: Run, repeats: int) -> float:
    if isinstance(run, SelfTimed):
        return run.seconds(repeats, WARM_SECONDS)
    return repeated(run, repeats, WARM_SECONDS)
