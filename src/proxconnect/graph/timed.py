"""The time of each operator of a graph."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from proxconnect.graph.graph import Node
from proxconnect.graph.interpreter import Observer


def node_seconds(run: Callable[[Observer], object], rounds: int) -> list[tuple[Node, float]]:
    """Return the nodes of a graph in order, each with the median of its seconds.

    Args:
        run: runs the graph and shows an observer every operator.
        rounds: the number of runs that count; one more comes first.

    >>> from proxconnect.graph import Node
    >>> [(node.op, seconds >= 0) for node, seconds in node_seconds(lambda see: see(Node("a", ()), (), 0), 2)]
    [('a', True)]
    """
    nodes: list[Node] = []
    seconds: list[list[float]] = []
    last = 0.0

    def observe(node: Node, args: Sequence[Any], result: Any) -> None:
        nonlocal last
        seconds[-1].append(time.perf_counter() - last)
        nodes.append(node)
        last = time.perf_counter()

    for _ in range(rounds + 1):
        nodes.clear()
        seconds.append([])
        last = time.perf_counter()
        run(observe)
    medians = map(statistics.median, zip(*seconds[1:], strict=True))
    return list(zip(nodes, medians, strict=True))
