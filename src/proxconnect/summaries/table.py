"""The summary of a model or packed file: a row for each layer, totals and ratios."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from proxconnect import format as packed_format
from proxconnect.base.table import Table
from proxconnect.engine import Network
from proxconnect.errors import ProxConnectError
from proxconnect.summaries import _count
from proxconnect.summaries._unfused import UnfusedOperator, unfused_operators


@dataclass(frozen=True)
class LayerSummary:
    """One layer: a module of a model, or the tensors of a file under one name.

    ``bytes`` is the size of the packed layer with its scales and buffers, ``float32_bytes`` its size without
    binarization. ``macs``, the products with weights, are per sample; they are None if they are unknown or
    the layer has none. ``skipped`` is the reason why the layer is not binarized, if a model knows it; files
    do not.
    ``mu`` is the sharpness of a layer in training, and ``level_distance`` the largest mean distance of its
    weights from their levels, in units of their scale; both are None for other layers.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    binary_parameters: int
    float_parameters: int
    binary_bytes: int
    bytes: int
    float32_bytes: int
    macs: int | None
    kernel: str
    bits: int
    activation_bits: int
    accumulator_bits: int
    skipped: str
    mu: float | None = None
    level_distance: float | None = None

    @property
    def precision(self) -> str:
        """Bits of the layer's weights, and of its inputs and sums if these have fewer than 32."""
        inputs = "" if self.activation_bits == 32 else f" x {self.activation_bits} bit"
        sums = "" if self.accumulator_bits == 32 else f" in {self.accumulator_bits} bit"
        return f"{self.bits} bit{inputs}{sums}"

    @property
    def bits_per_weight(self) -> float:
        """Bits of each weight, with its share of the scales."""
        if self.binary_parameters:
            return 8 * self.binary_bytes / self.binary_parameters
        return 8 * self.bytes / max(1, self.float32_bytes // 4)


@dataclass(frozen=True)
class Summary:
    """Rows and totals; ``str()`` is a table, :meth:`to_dict` is for JSON.

    ``unfused`` lists the operators on floats that a loaded network or a file leaves to torch.
    """

    title: str
    layers: tuple[LayerSummary, ...]
    file_bytes: int | None = None
    unfused: tuple[UnfusedOperator, ...] = ()

    def _total(self, value: Callable[[LayerSummary], int]) -> int:
        return sum(map(value, self.layers))

    @property
    def binary_parameters(self) -> int:
        """Parameters of one bit."""
        return self._total(lambda layer: layer.binary_parameters)

    @property
    def float_parameters(self) -> int:
        """All other parameters."""
        return self._total(lambda layer: layer.float_parameters)

    @property
    def bytes(self) -> int:
        """Bytes of all tensors, packed."""
        return self._total(lambda layer: layer.bytes)

    @property
    def float32_bytes(self) -> int:
        """Bytes of all tensors without binarization."""
        return self._total(lambda layer: layer.float32_bytes)

    @property
    def binary_ratio(self) -> float | None:
        """Ratio of the binarized weights in float32 to their packed size with scales; None without them."""
        packed = self._total(lambda layer: layer.binary_bytes)
        return 4 * self.binary_parameters / packed if packed else None

    @property
    def ratio(self) -> float:
        """Ratio of all tensors in float32 to their packed size."""
        return self.float32_bytes / max(1, self.bytes)

    @property
    def file_ratio(self) -> float | None:
        """Ratio of all tensors in float32 to the size of the file; None for a model."""
        return self.float32_bytes / self.file_bytes if self.file_bytes else None

    def macs(self, binary: bool) -> int | None:
        """Count the multiply-accumulates per sample of binary layers, or of the others; None if unknown."""
        known = [layer for layer in self.layers if layer.macs is not None]
        return sum(layer.macs or 0 for layer in known if (layer.bits < 32) == binary) if known else None

    def to_dict(self) -> dict[str, Any]:
        """Return rows and totals as plain values."""
        extra = ("precision", "bits_per_weight")
        totals = ("binary_parameters", "float_parameters", "bytes", "float32_bytes", "binary_ratio", "ratio")
        return {
            "title": self.title,
            "layers": [
                asdict(layer) | {name: getattr(layer, name) for name in extra} for layer in self.layers
            ],
            **{name: getattr(self, name) for name in (*totals, "file_bytes", "file_ratio")},
            "macs_1bit": self.macs(binary=True),
            "macs_32bit": self.macs(binary=False),
            "unfused": [asdict(row) for row in self.unfused],
        }

    def __str__(self) -> str:
        head = (
            "layer",
            "kind",
            "shape",
            "precision",
            "parameters",
            "bits/weight",
            "bytes",
            "1-bit MACs",
            "32-bit MACs",
            "kernel",
            "skipped",
            "mu",
            "level distance",
        )
        parameters = self.binary_parameters + self.float_parameters
        macs = _count_text(self.macs(binary=True)), _count_text(self.macs(binary=False))
        total = ("total", "", "", "", f"{parameters:,}", "", f"{self.bytes:,}", *macs, "", "", "", "")
        in_training = any(layer.mu is not None for layer in self.layers)
        shown = len(head) if in_training else -2
        rows = [_cells(layer)[:shown] for layer in self.layers]
        table = str(Table(head[:shown], rows, numbers=head[4:9], totals=[total[:shown]]))
        line = table.split("\n")[1]
        return "\n".join([self.title, line, table, line, *self._notes()])

    def _notes(self) -> Iterator[str]:
        parameters = self.binary_parameters + self.float_parameters
        share = self.binary_parameters / max(1, parameters)
        yield f"binary parameters   {self.binary_parameters:,} of {parameters:,} ({share:.1%})"
        if self.binary_ratio is not None:
            yield f"binarized weights   {self.binary_ratio:.1f}x smaller, scales included"
        sizes = f"{self.float32_bytes:,} bytes in float32, {self.bytes:,} packed"
        yield f"all tensors         {sizes}: {self.ratio:.1f}x smaller"
        if self.file_bytes is not None:
            yield f"whole file          {self.file_bytes:,} bytes: {self.file_ratio:.1f}x smaller"
        if self.unfused:
            yield ""
            yield "left to torch, operator by operator:"
            columns = ("operator", "calls", "share of time", "reason")
            cells = [(row.operator, str(row.calls), f"{row.share:.1%}", row.reason) for row in self.unfused]
            yield str(Table(columns, cells, numbers=columns[1:3]))


def summary(
    model_or_path: nn.Module | str | os.PathLike[str], example_inputs: Tensor | Sequence[Tensor] | None = None
) -> Summary:
    """Summarise each layer of a model or packed file: precision, parameters, bytes, operations and kernel.

    Args:
        model_or_path: a model (plain, binarized, hardened, packed or loaded), or the path of a packed file.
        example_inputs: one input, or a tuple of inputs, batch first, with which multiply-accumulates are
            counted, and operators timed that a loaded network or a file leaves to torch. A file whose sizes,
            except the batch, are fixed does not need them.

    Raises:
        FormatError: this release does not read the file.
        ProxConnectError: the first argument is neither a model nor a path.

    >>> import torch, proxconnect as pc
    >>> layer = torch.nn.Linear(768, 10, bias=False)
    >>> layer = pc.binarize_(layer, pc.BinarizeConfig("bc"), lambda module, name: True)
    >>> table = summary(layer)
    >>> table.bytes, round(table.ratio, 1)
    (980, 31.3)
    """
    inputs = (example_inputs,) if isinstance(example_inputs, Tensor) else example_inputs
    if isinstance(model_or_path, nn.Module):
        counted = _count.of_model(model_or_path, inputs)
        title, file_bytes = type(model_or_path).__name__, None
        network = model_or_path if isinstance(model_or_path, Network) else None
    elif isinstance(model_or_path, (str, os.PathLike)):
        path = Path(model_or_path)
        packed = packed_format.read(path)
        network = None if packed.header.graph is None else Network(packed)
        counted = _count.of_file(packed, network, inputs)
        title, file_bytes = path.name, path.stat().st_size
    else:
        raise ProxConnectError(f"summary takes a model or the path of a packed file, not {model_or_path!r}")
    layers = tuple(
        LayerSummary(
            name=name or "(model)",
            kind=layer.kind,
            shape=layer.shape,
            binary_parameters=layer.binary_parameters,
            float_parameters=layer.float_parameters,
            binary_bytes=layer.binary_bytes,
            bytes=layer.binary_bytes + layer.dense_bytes,
            float32_bytes=4 * layer.binary_parameters + layer.dense_float32_bytes,
            macs=layer.macs,
            kernel=layer.kernel,
            bits=layer.bits,
            activation_bits=layer.activation_bits,
            accumulator_bits=layer.accumulator_bits,
            skipped=layer.skipped,
            mu=layer.mu,
            level_distance=layer.level_distance,
        )
        for name, layer in counted.items()
    )
    if network is not None and inputs is None:
        inputs = _count.example(network.graph.inputs)
    unfused = () if network is None or inputs is None else unfused_operators(network, inputs)
    return Summary(title, layers, file_bytes, unfused)


def _cells(layer: LayerSummary) -> tuple[str, ...]:
    binary = layer.bits < 32
    return (
        layer.name,
        layer.kind,
        "x".join(map(str, layer.shape)),
        layer.precision,
        f"{layer.binary_parameters + layer.float_parameters:,}",
        f"{layer.bits_per_weight:.2f}",
        f"{layer.bytes:,}",
        _count_text(layer.macs) if binary else "-",
        "-" if binary else _count_text(layer.macs),
        layer.kernel,
        layer.skipped,
        "" if layer.mu is None else f"{layer.mu:.4g}",
        "" if layer.level_distance is None else f"{layer.level_distance:.1%}",
    )


def _count_text(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"
