"""Time a packed network beside the same architecture in float32 and int8, in other engines."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from proxconnect.base.table import Table
from proxconnect.engine import EXACT, Network, active_kernels
from proxconnect.errors import ProxConnectError
from proxconnect.format import torch_dtype
from proxconnect.packing import load
from proxconnect.timing import rounds as interleaved
from proxconnect.timing._float_twin import FloatTwin
from proxconnect.timing._memory import resident_bytes
from proxconnect.timing._operators import OperatorTime, operator_times
from proxconnect.timing._peers import check_engines, engine_runs, torch_runs
from proxconnect.timing._threads import threads_set
from proxconnect.timing.rounds import Interval, Run, median_interval, ratio

PACKED = "packed"


@dataclass(frozen=True)
class Contender:
    """The times of one engine: the latency of a batch in seconds, samples per second, and a ratio.

    ``times_packed`` is the ratio to the packed network's time, taken round by round. Each figure is a median
    with its 95 % interval.
    """

    name: str
    seconds: Interval
    throughput: float
    times_packed: Interval


@dataclass(frozen=True)
class Bench:
    """The measurements of a packed network; ``str()`` is a table, :meth:`to_dict` is for JSON.

    ``resident_bytes`` is the memory that a process with torch grows by when it imports this library, loads
    the network and runs it; None where the system does not tell. ``refusals`` are the messages of engines
    that do not run the network. ``operators`` are those of the packed
    network, longest first.
    """

    file: str
    file_bytes: int
    batch: int
    threads: int
    rounds: int
    precision: str
    activations: str | None
    kernels: str
    contenders: tuple[Contender, ...]
    refusals: dict[str, str]
    resident_bytes: int | None
    operators: tuple[OperatorTime, ...]

    @property
    def one_bit_share(self) -> float:
        """Share of the time that the kernels of 1-bit weights take."""
        return sum(row.share for row in self.operators if row.one_bit)

    def to_dict(self) -> dict[str, Any]:
        """Return all figures as plain values."""
        return asdict(self) | {"one_bit_share": self.one_bit_share}

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw the latencies, and where the time of the packed network goes; the ending chooses the format.

        Raises:
            ProxConnectError: the format is unknown, or the file cannot be written.
        """
        from proxconnect.timing._figure import draw

        draw(self, Path(path))

    def _lines(self) -> Iterator[str]:
        threads = f"{self.threads} thread{'s' * (self.threads > 1)}"
        settings = f"{threads}, kernels {self.kernels}, precision {self.precision}"
        yield f"{self.file}: batch {self.batch}, {settings}"
        yield f"medians of {self.rounds} interleaved rounds with 95 % intervals"
        yield ""
        columns: tuple[str, ...] = ("engine", "ms", "interval", "samples/s", "x packed", "interval of x")
        yield str(Table(columns, map(_cells, self.contenders), numbers=columns[1:]))
        for name, refusal in self.refusals.items():
            yield f"{name} does not run this network: {refusal}"
        yield ""
        columns = ("operator", "calls", "ms", "share")
        yield str(Table(columns, map(_operator_cells, self.operators), numbers=columns[1:]))
        yield ""
        yield f"kernels of 1-bit weights   {self.one_bit_share:.1%} of the time"
        yield f"file                       {self.file_bytes:,} bytes"
        if self.resident_bytes is not None:
            yield f"memory beyond torch's own  {self.resident_bytes / 2**20:.0f} MiB, loaded and run"


def bench(
    path: str | os.PathLike[str],
    example_inputs: Tensor | Sequence[Tensor] | None = None,
    *,
    batch: int = 1,
    threads: int | None = None,
    vs: Sequence[str] = (),
    rounds: int = 25,
    precision: str = EXACT,
    activations: str | None = None,
) -> Bench:
    """Time the network of a packed file beside the same architecture in other engines, in interleaved rounds.

    PyTorch is always among them, on images also in channels_last. The other engines run an ONNX file of the
    architecture with float32 weights and inputs, and that file quantized to int8.

    Args:
        path: a packed file with a graph.
        example_inputs: one input, or a tuple of inputs, batch first; random ones without it, if the sizes but
            the batch are fixed.
        batch: samples in a batch, where there are no ``example_inputs``.
        threads: threads of each engine; torch's number by default.
        vs: other engines: ``"onnxruntime"``, ``"openvino"``.
        rounds: how many times all engines are timed, one after the other.
        precision: as for :func:`proxconnect.load`.
        activations: as for :func:`proxconnect.load`.

    Raises:
        FormatError: the file is damaged or has no graph.
        MissingPackageError: an engine of ``vs`` is not installed.
        ProxConnectError: another argument is wrong.

    >>> import tempfile, torch, proxconnect as pc
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pc.save(torch.nn.Linear(64, 8), f"{folder}/m.safetensors", torch.zeros(1, 64))
    ...     found = bench(path, rounds=3)
    >>> [contender.name for contender in found.contenders]
    ['packed', 'torch']
    """
    counts = {"batch": batch, "rounds": rounds} | ({} if threads is None else {"threads": threads})
    for name, value in counts.items():
        if type(value) is not int or value < 1:
            raise ProxConnectError(f"{name} must be a whole number of at least 1, not {value!r}")
    check_engines(tuple(vs))
    path = Path(path)
    with threads_set(threads), torch.inference_mode():
        network = load(path, precision=precision, activations=activations)
        inputs = _inputs(network, example_inputs, batch)
        twin = FloatTwin(network)
        runs: dict[str, Run] = {PACKED: lambda: network(*inputs), **torch_runs(twin, inputs)}
        with engine_runs(twin, inputs, tuple(vs)) as (others, refusals):
            times = interleaved.rounds(runs | others, rounds)
        shapes = [(list(x.shape), str(x.dtype).removeprefix("torch.")) for x in inputs]
        return Bench(
            file=path.name,
            file_bytes=path.stat().st_size,
            batch=len(inputs[0]),
            threads=torch.get_num_threads(),
            rounds=rounds,
            precision=precision,
            activations=activations,
            kernels=active_kernels(),
            contenders=tuple(_contender(name, times, len(inputs[0])) for name in times),
            refusals=refusals,
            resident_bytes=resident_bytes(path, shapes, precision, activations, torch.get_num_threads()),
            operators=operator_times(network, inputs, rounds),
        )


def _inputs(network: Network, given: Tensor | Sequence[Tensor] | None, batch: int) -> tuple[Tensor, ...]:
    """Return the given inputs, or random ones of the sizes that the network takes."""
    if given is not None:
        return (given,) if isinstance(given, Tensor) else tuple(given)
    generator, found = torch.Generator().manual_seed(0), []
    for spec in network.graph.inputs:
        sizes = [batch if size == "batch" else size for size in spec.shape]
        varying = [size for size in sizes if isinstance(size, str)]
        if varying or not torch_dtype(spec.dtype).is_floating_point:
            why = f"its size {varying[0]!r} varies" if varying else f"it is {spec.dtype}"
            raise ProxConnectError(
                f"input {spec.name!r} cannot be drawn at random, since {why}; pass example_inputs"
            )
        found.append(
            torch.randn(
                [size for size in sizes if isinstance(size, int)],
                generator=generator,
                dtype=torch_dtype(spec.dtype),
                device="cpu",
            )
        )
    return tuple(found)


def _contender(name: str, times: dict[str, list[float]], batch: int) -> Contender:
    seconds = median_interval(times[name])
    return Contender(name, seconds, batch / seconds[0], ratio(times[name], times[PACKED]))


def _cells(row: Contender) -> tuple[str, ...]:
    middle, low, high = (1e3 * value for value in row.seconds)
    times = ("", "")
    if row.name != PACKED:
        times = (f"{row.times_packed[0]:.2f}", f"{row.times_packed[1]:.2f} to {row.times_packed[2]:.2f}")
    return (row.name, f"{middle:.2f}", f"{low:.2f} to {high:.2f}", f"{row.throughput:.1f}", *times)


def _operator_cells(row: OperatorTime) -> tuple[str, ...]:
    return row.operator, str(row.calls), f"{row.seconds * 1e3:.3f}", f"{row.share:.1%}"
