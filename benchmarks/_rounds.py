"""Interleaved measurements: what the benchmarks of kernels share."""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROUNDS = 41
LEAST_SECONDS = 2e-3  # of one measurement
PAUSE = 20e-3  # before each, awake: the threads of others spin for milliseconds after their work

Run = Callable[[], object]
Interval = tuple[float, float, float]


def ceilings() -> dict[str, float]:
    """Rates of this machine, one thread: 10^9 products or bytes per second."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "ceilings"
        source = Path(__file__).with_name("ceilings.cpp")
        subprocess.run(["c++", "-O3", "-march=native", "-std=c++20", "-w", source, "-o", program], check=True)
        answer = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    return json.loads(answer)  # type: ignore[no-any-return]


def rounds(runs: dict[str, Run], count: int = ROUNDS) -> dict[str, list[float]]:
    """Seconds of each, measured in turn."""
    repeats = {name: max(1, round(LEAST_SECONDS / _seconds(run, 3))) for name, run in runs.items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(count):
        for name, run in runs.items():
            times[name].append(_seconds(run, repeats[name]))
    return times


def median_interval(values: list[float]) -> Interval:
    """Median and its 95 % interval from order statistics (normal approximation of the binomial)."""
    ordered, half = sorted(values), 0.98 * len(values) ** 0.5
    low, high = round(len(values) / 2 - half), round(len(values) / 2 + half)
    return statistics.median(ordered), ordered[max(low, 0)], ordered[min(high, len(values) - 1)]


def ratio(slower: list[float], faster: list[float]) -> Interval:
    """How many times as long the one takes, round by round."""
    return median_interval([a / b for a, b in zip(slower, faster, strict=True)])


def _seconds(run: Run, repeats: int) -> float:
    start = time.perf_counter()
    while time.perf_counter() < start + PAUSE:
        pass
    run()
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - start) / repeats
