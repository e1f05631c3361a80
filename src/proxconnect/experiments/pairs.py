"""The pairs of methods that a grid compares, seed by seed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from proxconnect.comparison import half_interval, seeds_needed


class ComparedPair(NamedTuple):
    """The difference of two methods in one table of a grid.

    Args:
        table: the title of the table.
        first: a method.
        second: the method that is compared with it.
        done: the number of seeds with which both are done.
        planned: the number of seeds.
        mean: mean of ``second - first`` in points.
        half: half the width of its 95 % interval.
        needed: the seeds with which the interval would exclude 0, if mean and spread stayed; None for one
            seed, and for more than 10,000.
    """

    table: str
    first: str
    second: str
    done: int
    planned: int
    mean: float
    half: float
    needed: int | None


def compared_pairs(results: Mapping[str, Any], pairs: Iterable[Sequence[str]]) -> Iterator[ComparedPair]:
    """Compare the two methods of each pair in every table in which both are done."""
    for pair in pairs:
        for table in results["tables"]:
            cells = [results["cells"][name] for name in table["cells"]]
            first, second = (
                {_twin(cell): cell.get("record") for cell in cells if cell["method"] == method}
                for method in pair
            )
            twins = [twin for twin in first if first[twin] and second.get(twin)]
            if twins:
                differences = [100 * (second[twin]["packed"] - first[twin]["packed"]) for twin in twins]
                half = _half_interval(differences, first[twins[0]])
                mean = statistics.mean(differences)
                needed = seeds_needed(differences) if len(twins) > 1 else None
                yield ComparedPair(
                    table["title"], pair[0], pair[1], len(twins), len(first), mean, half, needed
                )


def _twin(cell: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the values that a cell shares with the cell to compare it with."""
    return (cell["model"], cell["setting"], cell["seed"], *cell["varied"].items())


def _half_interval(differences: Sequence[float], record: Mapping[str, Any]) -> float:
    """Return half the width of a 95 % interval, in points.

    The interval of several seeds is that of Student's t. The interval of a single seed follows from the
    number of validation images, as if the two networks erred independently.
    """
    if len(differences) > 1:
        return half_interval(differences)
    accuracy, images = record["packed"], record["images"]
    return 100 * 1.96 * math.sqrt(2 * accuracy * (1 - accuracy) / images)
