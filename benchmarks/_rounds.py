"""Interleaved measurements, which the benchmarks of kernels share."""

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
LEAST_SECONDS = 4e-3  # the least duration of one measurement
# The duration of untimed runs before a measurement: threads of other libraries spin on for milliseconds, and
# a core that was idle takes as long to reach its full speed.
WARM_SECONDS = 20e-3


class SelfTimed(ABC):
    """A run that measures its own time, since this is not the time of a call."""

    @abstractmethod
    def seconds(self, repeats: int, warm_seconds: float = 0) -> float:
        """Measure the seconds of one run, after untimed runs for ``warm_seconds``, at least one."""

    def __call__(self) -> float:
        return self.seconds(1)


Run = Callable[[], object]
Interval = tuple[float, float, float]


class Ceiling(SelfTimed):
    """The peak rate of as many cores as torch has threads, measured among the other runs."""

    def __init__(self, library: ctypes.CDLL, name: str) -> None:
        self.function = library[f"ceiling_{name}"]
        self.timed: Callable[..., float] = library.seconds_at_once
        self.function.restype = self.timed.restype = ctypes.c_double  # type: ignore[attr-defined]
        self.amount: float = self.function()  # products or bytes of one core in one run

    def seconds(self, repeats: int, warm_seconds: float = 0) -> float:
        return self.timed(self.function, torch.get_num_threads(), repeats, ctypes.c_double(warm_seconds))

    def floor(self, amount: float, times: list[float]) -> list[float]:
        """Compute the seconds in which all cores together do ``amount``, at the rate of each round."""
        return [amount / torch.get_num_threads() / self.amount * time for time in times]


def built(source: Path, *flags: str) -> ctypes.CDLL:
    """Compile a C++ file for this machine, and load the library."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / source.with_suffix(".so").name
        usual = ["-O3", "-march=native", "-std=c++20", "-w", "-shared", "-fPIC", "-pthread"]
        subprocess.run(["c++", *usual, *flags, source, "-o", library], check=True)
        return ctypes.CDLL(str(library))


def ceilings(*names: str) -> dict[str, Ceiling]:
    """Return the ceilings of ``ceilings.cpp`` by name."""
    library = built(Path(__file__).with_name("ceilings.cpp"))
    return {name: Ceiling(library, name) for name in names}


def with_kernels(name: str, run: Run) -> Run:
    """Wrap a run so that it uses the kernel set ``name``."""

    def other() -> None:
        before = kernels.active_kernels()
        kernels.use_kernels(name)
        run()
        kernels.use_kernels(before)

    return other


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


def versions(names: tuple[str, ...]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the versions of the installed libraries, and the reasons why the others are skipped."""
    found, skipped = {}, {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            skipped[name] = "not installed"
    return found, skipped


def machine() -> str:
    """Describe this machine: its processor and the number of its cores."""
    description = origin()
    return f"{description['processor']}, {description['cores']} cores"


def _seconds(run: Run, repeats: int) -> float:
    if isinstance(run, SelfTimed):
        return run.seconds(repeats, WARM_SECONDS)
    return repeated(run, repeats, WARM_SECONDS)
