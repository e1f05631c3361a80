"""Example inputs of a network, with which tracers run it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from proxconnect.errors import ExportError, FormatError
from proxconnect.export._source import Source
from proxconnect.format import SizeRange, torch_dtype
from proxconnect.graph import Graph, SizeCheck

_TRIED = (2, 4, 7, 8, 16, 32, 64, 96, 128, 224, 256, 384, 512, 1024)


def example_inputs(source: Source) -> tuple[Tensor, ...]:
    """Make inputs of zeros of a batch of 2, with sizes at which the network runs.

    A tracer takes sizes of 1, and sizes that are equal by chance, for sizes that never vary.

    Raises:
        ExportError: the network runs at none of the sizes that are tried.
    """
    graph = source.graph
    check = SizeCheck(graph, lambda name: source.tensor(name).to("meta"), max_bytes=None)
    for sizes in _candidates(graph):
        try:
            check(sizes)
        except FormatError:
            continue
        return tuple(
            torch.zeros(
                [sizes[size] if isinstance(size, str) else size for size in spec.shape],
                dtype=torch_dtype(spec.dtype),
                device="cpu",
            )
            for spec in graph.inputs
        )
    raise ExportError("the network runs at none of the sizes that were tried")


def _candidates(graph: Graph) -> Iterator[dict[str, int]]:
    names = sorted(
        {size for spec in graph.inputs for size in spec.shape if isinstance(size, str)} - {"batch"}
    )
    ranges = [graph.sizes.get(name, SizeRange()) for name in names]
    for apart in (1, 0):  # sizes that differ, then sizes that are alike
        for tried in _TRIED:
            wanted = [tried + apart * (i + 1) for i in range(len(names))]
            yield {"batch": 2} | {
                name: _allowed(size, sizes) for name, size, sizes in zip(names, wanted, ranges, strict=True)
            }


def _allowed(size: int, sizes: SizeRange) -> int:
    """Return the size that ``sizes`` allows next to ``size``, from above where there is one."""
    steps = max(0, -(-(size - sizes.least) // sizes.step))
    if sizes.most is not None:
        steps = min(steps, (sizes.most - sizes.least) // sizes.step)
    return sizes.least + steps * sizes.step
