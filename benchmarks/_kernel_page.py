"""Rows, page and command line of the benchmarks of kernels."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

from _bars import Bar, bars_table
from _rounds import ROUNDS, machine, median_interval, ratio

from proxconnect import kernels
from proxconnect.base.files import written_whole

RESULTS = Path("docs/results")
INSTRUCTIONS = {"W1A1": "carry_save", "W1A8": "dot", "W1A6": "table_dot", "W1A32": "look_up"}  # ceilings

Times = dict[str, list[float]]


class Subject(NamedTuple):
    """What a page is about; ``shape`` and ``share`` head the columns of the shapes and of the ceiling."""

    name: str
    title: str
    shape: str
    share: str
    protocol: str
    bars: tuple[Bar, ...]

    def page(self, result: dict[str, Any]) -> str:
        """The whole of it, from what the JSON holds."""
        head = ["kernel", self.shape, "threads", "ms", self.share]
        peers = list(dict.fromkeys(peer for row in result["rows"] for peer in row["faster_than"]))
        versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
        skipped = [f"Skipped: {name} ({reason})." for name, reason in result["skipped"].items()]
        lines = [
            f"# {self.title}",
            "",
            f"{result['machine']}; kernel set {result['kernels']}; medians of {result['rounds']} interleaved "
            f"rounds, ratios as 95 % intervals. {versions}. Made by `benchmarks/{self.name}.py`.",
            "",
            " ".join([self.protocol, *skipped]),
            "",
            *_table([*head, *(f"x {peer}" for peer in peers)]),
            *(as_line(row, peers) for row in result["rows"]),
            "",
            "## Times of the peers, ms",
            "",
            *_table([self.shape, "threads", *peers]),
            *(_peers_line(case, peers) for case in result["peers"]),
            "",
            "## Figures to reach",
            "",
            *bars_table(self.bars, result["rows"]),
        ]
        return "\n".join(lines) + "\n"


class Measured:
    """Rows and peers' times of all shapes and threads."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.peers: list[dict[str, Any]] = []

    def add(self, shape: list[int], threads: int, ours: Times, peers: Times, floors: Times) -> None:
        """Compare the times of one shape; ``floors`` are what the ceilings allow each of ours."""
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
            print(as_line(row, list(peers)), flush=True)
        self.peers.append(
            {**place, "milliseconds": {peer: _milliseconds(times) for peer, times in peers.items()}}
        )
        print(_peers_line(self.peers[-1], list(peers)), flush=True)


def instructions(kernel: str) -> str:
    """The ceiling of a kernel, by the first word of its name."""
    return INSTRUCTIONS[kernel.split()[0].rstrip(",")]


def as_line(row: dict[str, Any], peers: list[str]) -> str:
    """A row in Markdown; a peer without a figure leaves its cell empty."""
    found = row["faster_than"]
    ratios = (f"{found[peer][1]:.1f} to {found[peer][2]:.1f}" if peer in found else "" for peer in peers)
    return (
        f"| {row['kernel']} | {' x '.join(map(str, row['shape']))} | {row['threads']} "
        f"| {row['milliseconds'][0]:.3f} | {row['of_ceiling'][0]:.0%} | {' | '.join(ratios)} |"
    )


def command_line(about: str | None) -> argparse.ArgumentParser:
    """The options that all share."""
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
    """Say which bars hold and what was skipped, and write page and JSON."""
    result = {
        "machine": machine(),
        "kernels": kernels.active_kernels(),
        "rounds": arguments.rounds,
        "versions": versions,
        "skipped": skipped,
        "rows": measured.rows,
        "peers": measured.peers,
    }
    print(*bars_table(subject.bars, measured.rows), sep="\n")
    print(*(f"skipped: {name} ({reason})" for name, reason in skipped.items()), sep="\n")
    if arguments.dry:
        return
    with written_whole(RESULTS / "data" / f"{subject.name}.json") as file:
        file.write_text(json.dumps(result, indent=1) + "\n")
    with written_whole(RESULTS / f"{subject.name}.md") as file:
        file.write_text(subject.page(result))


def _milliseconds(times: list[float]) -> list[float]:
    return [value * 1e3 for value in median_interval(times)]


def _table(head: list[str]) -> list[str]:
    return [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]


def _peers_line(case: dict[str, Any], peers: list[str]) -> str:
    found = case["milliseconds"]
    cells = (f"{found[peer][0]:.3f}" if peer in found else "" for peer in peers)
    return f"| {' x '.join(map(str, case['shape']))} | {case['threads']} | {' | '.join(cells)} |"
