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


def bars_table(bars: tuple[Bar, ...], rows: list[dict[str, Any]]) -> list[str]:
    """Lines of a table; an interval that contains the bar leaves it open."""
    lines = [
        "| kernel | against | at least | measured at worst | where | holds |",
        f"|{' --- |' * 6}",
    ]
    for bar in bars:
        found = [
            (interval, peer, row)
            for row in rows
            if row["kernel"] == bar.kernel and bar.shapes(row["shape"])
            for peer, interval in (
                {"the ceiling": row["of_ceiling"]} if not bar.peers else row["faster_than"]
            ).items()
            if not bar.peers or peer.startswith(bar.peers)
        ]
        against = ", ".join(bar.peers) or "the ceiling"
        if not found:
            lines.append(f"| {bar.kernel} | {against} | {bar.least:g} | | | not measured |")
            continue
        (_, low, high), peer, row = min(found, key=lambda one: one[0][0])
        where = f"{' x '.join(map(str, row['shape']))}, threads: {row['threads']}, {peer}"
        holds = "yes" if low >= bar.least else "no" if high < bar.least else "open"
        lines.append(
            f"| {bar.kernel} | {against} | {bar.least:g} | {low:.2f} to {high:.2f} | {where} | {holds} |"
        )
    return lines
