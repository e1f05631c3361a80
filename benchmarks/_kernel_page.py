"""Rows, page and command line that the benchmarks of kernels share."""

from __future__ import annotations

import argparse
from typing import Any, NamedTuple

from _bars import Bar, bars_table
from _results import write_results
from _rounds import ROUNDS, machine, median_interval, ratio

from proxconnect import kernels
from proxconnect.base.table import Table

INSTRUCTIONS = {"W1A1": "carry_save", "W1A8": "dot", "W1A6": "table_dot", "W1A32": "look_up"}  # ceilings

Times = dict[str, list[float]]


class Subject(NamedTuple):
    """The subject of a page; ``shape`` and ``share`` are the heads of two of its columns."""

    name: str
    title: str
    shape: str
    share: str
    protocol: str
    bars: tuple[Bar, ...]

    def page(self, result: dict[str, Any]) -> str:
        """Write the whole page from the content of the JSON file."""
        head = ["kernel", self.shape, "threads", "ms", self.share]
        peers = list(dict.fromkeys(peer for row in result["rows"] for peer in row["faster_than"]))
        versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
        skipped = [f"Skipped: {name} ({reason})." for name, reason in result["skipped"].items()]
        lines = [
            f"# {self.title}",
            "",
            f"{result['machine']}; kernel set {result['kernels']}; medians of {result['rounds']} "
            f"interleaved rounds, ratios as 95 % intervals. {versions}. `benchmarks/{self.name}.py` makes "
            "this page. A column *x peer* says how many times as fast as that peer the kernel is.",
            "",
            " ".join([self.protocol, *skipped]),
            "",
            Table(
                [*head, *(f"x {peer}" for peer in peers)], (_cells(row, peers) for row in result["rows"])
            ).markdown(),
            "",
            "## Times of the peers, ms",
            "",
            Table(
                [self.shape, "threads", *peers], (_peers_cells(case, peers) for case in result["peers"])
            ).markdown(),
            "",
            "## Figures to reach",
            "",
            bars_table(self.bars, result["rows"]).markdown(),
        ]
        return "\n".join(lines) + "\n"


class Measured:
    """The measured rows and the peers' times of all shapes and threads."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.peers: list[dict[str, Any]] = []

    def add(self, shape: list[int], threads: int, ours: Times, peers: Times, floors: Times) -> None:
        """Compare the times of one shape; ``floors`` are the times at the ceilings of our kernels."""
        place = {"shape": shape, "threads": threads}
        for name, times in ours.items():
            row = {
                "kernel": name,
                **place,
                "milliseconds": _milliseconds(times),
                "of_ceiling": ratio(floors[name], times),
                "faster_than": {peer: ratio(peers[peer], times) for peer in peers},
            }
            self.rows.append(row)
            print(*_cells(row, list(peers)), sep="  ", flush=True)
        self.peers.append(
            {**place, "milliseconds": {peer: _milliseconds(times) for peer, times in peers.items()}}
        )
        print(*_peers_cells(self.peers[-1], list(peers)), sep="  ", flush=True)


def instructions(kernel: str) -> str:
    """Name the ceiling of a kernel, by the first word of the kernel's name."""
    return INSTRUCTIONS[kernel.split()[0].rstrip(",")]


def command_line(about: str | None) -> argparse.ArgumentParser:
    """Make the parser of the options that all benchmarks of kernels share."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--dry", action="store_true", help="print only, write nothing")
    return parser


def report(
    subject: Subject,
    measured: Measured,
    arguments: argparse.Namespace,
    versions: dict[str, str],
    skipped: dict[str, str],
) -> None:
    """Print the bars and the skipped libraries, and write page and JSON."""
    result = {
        "machine": machine(),
        "kernels": kernels.active_kernels(),
        "rounds": arguments.rounds,
        "versions": versions,
        "skipped": skipped,
        "rows": measured.rows,
        "peers": measured.peers,
    }
    print(bars_table(subject.bars, measured.rows))
    print(*(f"skipped: {name} ({reason})" for name, reason in skipped.items()), sep="\n")
    if arguments.dry:
        return
    write_results(subject.name, result, subject.page)


def _milliseconds(times: list[float]) -> list[float]:
    return [value * 1e3 for value in median_interval(times)]


def _cells(row: dict[str, Any], peers: list[str]) -> list[str]:
    """List the cells of a row; a peer without a figure has an empty cell."""
    ratios = row["faster_than"]
    return [
        row["kernel"],
        " x ".join(map(str, row["shape"])),
        str(row["threads"]),
        f"{row['milliseconds'][0]:.3f}",
        f"{row['of_ceiling'][0]:.0%}",
        *(f"{ratios[peer][1]:.1f} to {ratios[peer][2]:.1f}" if peer in ratios else "" for peer in peers),
    ]


def _peers_cells(case: dict[str, Any], peers: list[str]) -> list[str]:
    """List the cells of the peers' times; a peer without a time has an empty cell."""
    times = case["milliseconds"]
    shape = " x ".join(map(str, case["shape"]))
    return [
        shape,
        str(case["threads"]),
        *(f"{times[peer][0]:.3f}" if peer in times else "" for peer in peers),
    ]
