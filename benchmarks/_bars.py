"""Which of the figures that the kernels are to reach hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Bar(NamedTuple):
    """``kernel`` is to reach ``least`` times a peer, or of the ceiling where ``peers`` is empty.

    Of several peers, whose names begin like those given, the fastest counts; of several shapes the worst.
    """

    kernel: str
    least: float
    peers: tuple[str, ...] = ()
    shapes: Callable[[list[int]], bool] = lambda shape: True

    def figures(self, row: dict[str, Any]) -> dict[str, list[float]]:
        """Median and interval by what they are measured against."""
        if not self.peers:
            return {"the ceiling": row["of_ceiling"]}
        return {peer: found for peer, found in row["faster_than"].items() if peer.startswith(self.peers)}


def bars_table(bars: tuple[Bar, ...], rows: list[dict[str, Any]]) -> list[str]:
    """Lines of a table; an interval that contains the bar leaves it open, and so does a missing figure."""
    lines = [
        "| kernel | against | at least | measured at worst | where | holds |",
        f"|{' --- |' * 6}",
    ]
    for bar in bars:
        chosen = [row for row in rows if row["kernel"] == bar.kernel and bar.shapes(row["shape"])]
        found = [(figure, peer, row) for row in chosen for peer, figure in bar.figures(row).items()]
        cells = bar.kernel, ", ".join(bar.peers) or "the ceiling", f"{bar.least:g}"
        if not found:
            lines.append(f"| {' | '.join(cells)} | | | not measured |")
            continue
        # What certainly fails comes first, then what reaches least.
        (_, low, high), peer, row = min(found, key=lambda one: (one[0][2] >= bar.least, one[0][1]))
        missing = [_place(row) for row in chosen if not bar.figures(row)]
        where = "; ".join([f"{_place(row)}, {peer}", *(f"no figure at {place}" for place in missing)])
        holds = "no" if high < bar.least else "open" if low < bar.least or missing else "yes"
        lines.append(f"| {' | '.join(cells)} | {low:.2f} to {high:.2f} | {where} | {holds} |")
    return lines


def _place(row: dict[str, Any]) -> str:
    return f"{' x '.join(map(str, row['shape']))}, threads: {row['threads']}"
