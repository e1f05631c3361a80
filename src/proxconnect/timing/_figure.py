"""One figure of a measurement: the engines' latencies, and where the time of the packed network goes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from proxconnect.base.figures import figure_to

if TYPE_CHECKING:
    from proxconnect.timing._bench import Bench

_MOST_OPERATORS = 8
_OURS, _OTHERS = "#1b6ca8", "#b9c0c7"


def draw(bench: Bench, path: Path) -> None:
    """Draw ``bench`` to ``path``."""
    rows, operators = bench.contenders, _shown(bench)
    threads = f"{bench.threads} thread{'s' * (bench.threads > 1)}"
    with figure_to(path, (8, 1.8 + 0.3 * (len(rows) + len(operators)))) as figure:
        above, below = figure.subplots(2, 1, height_ratios=(len(rows), len(operators)))
        milliseconds = [1e3 * row.seconds[0] for row in rows]
        spread = [
            [1e3 * (row.seconds[0] - row.seconds[1]) for row in rows],
            [1e3 * (row.seconds[2] - row.seconds[0]) for row in rows],
        ]
        above.barh(
            [row.name for row in rows],
            milliseconds,
            xerr=spread,
            color=[_OURS if index == 0 else _OTHERS for index in range(len(rows))],
        )
        for index, row in enumerate(rows):
            text = f" {milliseconds[index]:.2f} ms" + ("" if index == 0 else f", {row.times_packed[0]:.2f}x")
            above.text(1e3 * row.seconds[2], index, text, va="center", fontsize=8)
        above.set_title(f"{bench.file}, batch {bench.batch}, {threads}")
        above.set_xlabel("latency, ms (median and 95 % interval); x: times as long as packed")
        below.barh(
            [name for name, _, _ in operators],
            [seconds * 1e3 for _, seconds, _ in operators],
            color=[_OURS if one_bit else _OTHERS for _, _, one_bit in operators],
        )
        share = f"{bench.one_bit_share:.0%}"
        below.set_xlabel(f"time of the packed network by operator, ms; blue: 1-bit kernels ({share})")
        for axes in (above, below):
            axes.invert_yaxis()
            axes.margins(x=0.18)
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(labelsize=8)


def _shown(bench: Bench) -> list[tuple[str, float, bool]]:
    """Return the longest operators, and the rest in one row."""
    rows = [(row.operator, row.seconds, row.one_bit) for row in bench.operators]
    if len(rows) <= _MOST_OPERATORS:
        return rows
    rest = sum(seconds for _, seconds, _ in rows[_MOST_OPERATORS:])
    return [*rows[:_MOST_OPERATORS], ("others", rest, False)]
