"""The result of a comparison: values by method and seed, and their paired differences to a baseline."""

from __future__ import annotations

import json
import math
import os
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from proxconnect.base.files import written_whole
from proxconnect.base.table import Table
from proxconnect.comparison.forest import Line, draw_forest
from proxconnect.comparison.paired import half_interval, seeds_needed
from proxconnect.errors import ProxConnectError, unknown_name

# Metrics by the seed of a run, by the name of its method.
Values = Mapping[str, Mapping[int, Mapping[str, float]]]


class Row(NamedTuple):
    """One method beside the baseline, in one metric.

    Args:
        method: its name.
        mean: mean over the seeds.
        spread: standard deviation over the seeds; NaN for one seed.
        difference: mean over the seeds of its value less that of the baseline with the same seed.
        half: half the width of the 95 % interval of ``difference``; NaN for one seed.
        needed: the seeds with which the interval would exclude 0, if mean and spread of the differences
            stayed; None if they are not known, or more than 10,000.
    """

    method: str
    mean: float
    spread: float
    difference: float
    half: float
    needed: int | None

    @property
    def interval(self) -> tuple[float, float]:
        """The ends of the interval of ``difference``."""
        return self.difference - self.half, self.difference + self.half

    @property
    def reading(self) -> str:
        """The difference in words: ``"higher"``, ``"lower"``, ``"within noise"`` or ``"one seed"``."""
        if math.isnan(self.half):
            return "one seed"
        if abs(self.difference) <= self.half:
            return "within noise"
        return "higher" if self.difference > 0 else "lower"


@dataclass(frozen=True)
class Comparison:
    """The result of :func:`proxconnect.compare`; ``print`` shows it as a table for each metric.

    Args:
        methods: the names, in order.
        seeds: the seeds, in order.
        baseline: the name of the method that the others are compared with.
        values: metrics by method and seed, ``values["bnn++"][0]["accuracy"]``.
    """

    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    baseline: str
    values: Values

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the metrics; it is ``value`` where ``train`` returns a number."""
        return tuple(self.values[self.baseline][self.seeds[0]])

    def rows(self, metric: str | None = None) -> list[Row]:
        """Compare every method with the baseline, in one metric; the first one if it is not named.

        Raises:
            ProxConnectError: there is no such metric.
        """
        metric = self.metrics[0] if metric is None else metric
        if metric not in self.metrics:
            raise ProxConnectError(unknown_name("metric", metric, self.metrics))
        by_method = {
            method: [self.values[method][seed][metric] for seed in self.seeds] for method in self.methods
        }
        return [_row(method, values, by_method[self.baseline]) for method, values in by_method.items()]

    def table(self, metric: str | None = None) -> Table:
        """Make the table of one metric; ``table().markdown()`` writes it for a page."""
        metric = self.metrics[0] if metric is None else metric
        names = ("method", metric, f"less {self.baseline}", "95 % interval", "reading", "seeds needed")
        return Table(names, map(self._cells, self.rows(metric)), numbers=names[1:4] + names[5:])

    def _cells(self, row: Row) -> list[str]:
        mean = f"{row.mean:.4g}" + ("" if math.isnan(row.spread) else f" ± {row.spread:.2g}")
        if row.method == self.baseline:
            return [row.method, mean, "", "", "baseline", ""]
        low, high = row.interval
        interval = "none" if math.isnan(row.half) else f"{low:+.3g} to {high:+.3g}"
        needed = "" if row.needed is None else str(row.needed)
        return [row.method, mean, f"{row.difference:+.3g}", interval, row.reading, needed]

    def __str__(self) -> str:
        count = len(self.seeds)
        last = (
            "One seed gives no interval, and no difference can be told from noise: pass more seeds."
            if count == 1
            else f"{count} seeds, compared seed by seed. The interval is Student's. Seeds needed: with so "
            "many the interval would exclude 0, if mean and spread stayed."
        )
        return "\n\n".join([*(str(self.table(metric)) for metric in self.metrics), last])

    def plot(self, path: str | os.PathLike[str], metric: str | None = None) -> Path:
        """Draw the forest plot of one metric: differences to the baseline with their intervals.

        Args:
            path: the file to write; its ending chooses the format.
            metric: the first one if it is not named.

        Returns:
            ``path``.

        Raises:
            ProxConnectError: the metric or the format is unknown, the file cannot be written, or matplotlib
                is missing.
        """
        metric = self.metrics[0] if metric is None else metric
        lines = [
            Line(row.method, row.difference, row.half)
            for row in self.rows(metric)
            if row.method != self.baseline
        ]
        draw_forest(lines, Path(path), f"{metric} less that of {self.baseline}, with 95 % interval")
        return Path(path)

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values: the values, and the rows of each metric. NaN becomes None."""
        return {
            "methods": list(self.methods),
            "seeds": list(self.seeds),
            "baseline": self.baseline,
            "values": plain_values(self.values),
            "rows": {
                metric: [
                    {key: _or_none(value) for key, value in row._asdict().items()}
                    for row in self.rows(metric)
                ]
                for metric in self.metrics
            },
        }

    def to_json(self) -> str:
        """Write :meth:`to_dict` as JSON."""
        return json.dumps(self.to_dict(), indent=1)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write :meth:`to_json` to a file, which ``compare(..., path=path)`` continues.

        Raises:
            ProxConnectError: the file cannot be written.
        """
        with written_whole(Path(path)) as file:
            file.write_text(self.to_json() + "\n", encoding="utf-8")
        return Path(path)


def plain_values(values: Values) -> dict[str, dict[str, dict[str, float]]]:
    """Copy values with their seeds as text, as JSON has them."""
    return {
        method: {str(seed): dict(metrics) for seed, metrics in by_seed.items()}
        for method, by_seed in values.items()
    }


def _row(method: str, values: list[float], baseline: list[float]) -> Row:
    differences = [value - base for value, base in zip(values, baseline, strict=True)]
    several = len(values) > 1
    return Row(
        method,
        statistics.fmean(values),
        statistics.stdev(values) if several else math.nan,
        statistics.fmean(differences),
        half_interval(differences) if several else math.nan,
        seeds_needed(differences) if several else None,
    )


def _or_none(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
