"""Interleaved measurements: what the benchmarks of kernels share."""

from __future__ import annotations

import ctypes
import statistics
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from proxconnect import kernels
from proxconnect.trainer import origin

ROUNDS = 25
LEAST_SECONDS = 4e-3  # of one measurement
# Of untimed runs before it: the threads of others spin on for milliseconds, and a core that was idle takes
# as long to come to speed.
WARM_SECONDS = 20e-3


class SelfTimed(ABC):
    """A run whose time is not simply that of a call."""

    @abstractmethod
    def seconds(self, repeats: int, warm_seconds: float = 0) -> float:
        """Of one run, after untimed ones: for that long, but one at least."""

    def __call__(self) -> float:
        return self.seconds(1)


Run = Callable[[], object]
Interval = tuple[float, float, float]


class Ceiling(SelfTimed):
    """What as many cores as torch has threads can do at most at once, to be measured among the others."""

    def __init__(self, library: ctypes.CDLL, name: str) -> None:
        self.function = library[f"ceiling_{name}"]
        self.timed: Callable[..., float] = library.seconds_at_once
        self.function.restype = self.timed.restype = ctypes.c_double  # type: ignore[attr-defined]
        self.amount: float = self.function()  # products or bytes of one core

    def seconds(self, repeats: int, warm_seconds: float = 0) -> float:
        return self.timed(self.function, torch.get_num_threads(), repeats, ctypes.c_double(warm_seconds))

    def floor(self, amount: float, times: list[float]) -> list[float]:
        """How long the cores take together for that many, at the rate of each round."""
        return [amount / torch.get_num_threads() / self.amount * time for time in times]


def built(source: Path, *flags: str) -> ctypes.CDLL:
    """The library that a C++ file makes with all this machine has."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / source.with_suffix(".so").name
        usual = ["-O3", "-march=native", "-std=c++20", "-w", "-shared", "-fPIC", "-pthread"]
        subprocess.run(["c++", *usual, *flags, source, "-o", library], check=True)
        return ctypes.CDLL(str(library))


def ceilings(*names: str) -> dict[str, Ceiling]:
    """Those of ``ceilings.cpp``, by name."""
    library = built(Path(__file__).with_name("ceilings.cpp"))
    return {name: Ceiling(library, name) for name in names}


def with_kernels(name: str, run: Run) -> Run:
    """The same with another kernel set."""

    def other() -> None:
        before = kernels.active_kernels()
        kernels.use_kernels(name)
        run()
        kernels.use_kernels(before)

    return other


def repeated(run: Run, repeats: int, warm_seconds: float = 0) -> float:
    """Seconds of one call, after calls that are not timed: for that long, but one at least."""
    start = time.perf_counter()
    run()
    while time.perf_counter() < start + warm_seconds:
        run()
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - start) / repeats


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


def versions(names: tuple[str, ...]) -> tuple[dict[str, str], dict[str, str]]:
    """Those of the libraries that are installed, and why the others are skipped."""
    found, skipped = {}, {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            skipped[name] = "not installed"
    return found, skipped


def machine() -> str:
    """Where the numbers come from."""
    where = origin()
    return f"{where['processor']}, {where['cores']} cores"


def _seconds(run: Run, repeats: int) -> float:
    if isinstance(run, SelfTimed):
        return run.seconds(repeats, WARM_SECONDS)
    return repeated(run, repeats, WARM_SECONDS)
