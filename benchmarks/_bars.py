"""The speeds that the kernels are to reach, and whether they do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from proxconnect.base.table import Table


class Bar(NamedTuple):
    """A speed that ``kernel`` is to reach: ``least`` times a peer, or times the ceiling without ``peers``.

    A peer counts if its name begins with one of ``peers``. The fastest peer and the worst shape decide.
    """

    kernel: str
    least: float
    peers: tuple[str, ...] = ()
    shapes: Callable[[list[int]], bool] = lambda shape: True

    def figures(self, row: dict[str, Any]) -> dict[str, list[float]]:
        """Return median and interval of the ratio to each peer, or to the ceiling."""
        if not self.peers:
            return {"the ceiling": row["of_ceiling"]}
        return {peer: found for peer, found in row["faster_than"].items() if peer.startswith(self.peers)}


def bars_table(bars: tuple[Bar, ...], rows: list[dict[str, Any]]) -> Table:
    """Compare the bars with the measured rows.

    A bar is open if the interval contains it, or if a figure is missing.
    """
    table_rows: list[list[str]] = []
    for bar in bars:
        chosen = [row for row in rows if row["kernel"] == bar.kernel and bar.shapes(row["shape"])]
        found = [(figure, peer, row) for row in chosen for peer, figure in bar.figures(row).items()]
        cells = bar.kernel, ", ".join(bar.peers) or "the ceiling", f"{bar.least:g}"
        if not found:
            table_rows.append([*cells, "", "", "not measured"])
            continue
        # A figure that certainly fails counts as the worst, otherwise the smallest figure.
        (_, low, high), peer, row = min(found, key=lambda one: (one[0][2] >= bar.least, one[0][1]))
        missing = [_place(row) for row in chosen if not bar.figures(row)]
        where = "; ".join([f"{_place(row)}, {peer}", *(f"no figure at {place}" for place in missing)])
        holds = "no" if high < bar.least else "open" if low < bar.least or missing else "yes"
        table_rows.append([*cells, f"{low:.2f} to {high:.2f}", where, holds])
    return Table(("kernel", "against", "at least", "measured at worst", "where", "holds"), table_rows)


def _place(row: dict[str, Any]) -> str:
    return f"{' x '.join(map(str, row['shape']))}, threads: {row['threads']}"
