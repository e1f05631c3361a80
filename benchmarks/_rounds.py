"""Interleaved measurements, which the benchmarks of kernels share."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from proxconnect import kernels
from proxconnect.timing.rounds import (
    ROUNDS,
    Interval,
    Run,
    SelfTimed,
    median_interval,
    ratio,
    repeated,
    rounds,
)
from proxconnect.trainer import origin

__all__ = [
    "ROUNDS",
    "Ceiling",
    "Interval",
    "Run",
    "SelfTimed",
    "built",
    "ceilings",
    "machine",
    "median_interval",
    "ratio",
    "repeated",
    "rounds",
    "versions",
    "with_kernels",
]


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
