"""Paired differences between the rows of a table: each row beside the first of its network, seed by seed."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from proxconnect.comparison import half_interval, seeds_needed


class RowDifference(NamedTuple):
    """The difference of a row of a table to the first row of the same network, over the seeds of both.

    Args:
        row: the row.
        first: the row that it is compared with.
        seeds: the number of seeds with which both are done, at least two.
        mean: mean of ``row - first`` in points.
        half: half the width of Student's 95 % interval.
        spread: the standard deviation of ``row - first`` over the seeds, in points.
        needed: the seeds with which the interval would exclude 0, if mean and spread stayed; None for more
            than 10,000.
    """

    row: str
    first: str
    seeds: int
    mean: float
    half: float
    spread: float
    needed: int | None


def row_differences(
    groups: Mapping[str, Sequence[Mapping[str, Any]]],
) -> Iterator[RowDifference]:
    """Compare rows of a table with the first row of their network.

    Args:
        groups: the cells of each row, by its label.

    Yields:
        A difference for each row that has two seeds or more in common with the first row.
    """
    firsts: dict[tuple[str, str], str] = {}
    for label, cells in groups.items():
        first = firsts.setdefault((cells[0]["model"], cells[0]["setting"]), label)
        here, there = _accuracies(cells), _accuracies(groups[first])
        seeds = [seed for seed in here if seed in there]
        if label != first and len(seeds) > 1:
            differences = [100 * (here[seed] - there[seed]) for seed in seeds]
            yield RowDifference(
                row=label,
                first=first,
                seeds=len(seeds),
                mean=statistics.mean(differences),
                half=half_interval(differences),
                spread=statistics.stdev(differences),
                needed=seeds_needed(differences),
            )


def _accuracies(cells: Sequence[Mapping[str, Any]]) -> dict[int, float]:
    """Return the accuracies of the packed networks that are done, by seed."""
    return {cell["seed"]: cell["record"]["packed"] for cell in cells if "record" in cell}
