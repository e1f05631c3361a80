"""The pages of the kernels are what their scripts write, and say rightly which figures hold."""

from __future__ import annotations

import importlib
import json
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def benchmarks_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


@pytest.mark.parametrize("name", ["kernels", "convolutions"])
def test_a_page_is_what_the_script_writes(name: str) -> None:
    subject = runpy.run_path(str(ROOT / "benchmarks" / f"{name}.py"))["SUBJECT"]
    result = json.loads((ROOT / "docs" / "results" / "data" / f"{name}.json").read_text())
    assert subject.page(result) == (ROOT / "docs" / "results" / f"{name}.md").read_text()


SHORT = [
    "activation_bits",
    "calls",
    "file_sizes",
    "group_products",
    "models",
    "recalibration",
    "repaired_pairs",
    "startup",
]


@pytest.mark.parametrize("name", SHORT)
def test_a_short_page_is_what_the_script_writes(name: str) -> None:
    page = runpy.run_path(str(ROOT / "benchmarks" / f"{name}.py"))["page"]
    result = json.loads((ROOT / "docs" / "results" / "data" / f"{name}.json").read_text())
    assert page(result) == (ROOT / "docs" / "results" / f"{name}.md").read_text()


def row(threads: int, **faster_than: tuple[float, float, float]) -> dict[str, Any]:
    return {
        "kernel": "ours",
        "shape": [1, 2],
        "threads": threads,
        "of_ceiling": (0.5, 0.4, 0.6),
        "faster_than": faster_than,
    }


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        ([row(1, peer=(3.0, 2.0, 4.0))], ("2.00 to 4.00", "1 x 2, threads: 1, peer", "yes")),
        ([row(1, peer=(3.0, 1.9, 4.0))], ("1.90 to 4.00", "1 x 2, threads: 1, peer", "open")),
        # A wide interval elsewhere does not hide what fails, nor a faster peer the slower one.
        (
            [row(1, peer=(3.0, 1.0, 4.0)), row(2, other=(9.0, 9.0, 9.0), peer=(1.8, 1.7, 1.9))],
            ("1.70 to 1.90", "1 x 2, threads: 2, peer", "no"),
        ),
        (
            [row(1, peer=(3.0, 2.0, 4.0)), row(2, other=(9.0, 9.0, 9.0))],
            ("2.00 to 4.00", "1 x 2, threads: 1, peer; no figure at 1 x 2, threads: 2", "open"),
        ),
        ([row(1, other=(9.0, 9.0, 9.0))], ("", "", "not measured")),
    ],
)
def test_a_figure_holds_where_every_interval_is_above_it(
    rows: list[dict[str, Any]], verdict: tuple[str, ...]
) -> None:
    bars = importlib.import_module("_bars")
    table = bars.bars_table((bars.Bar("ours", 2, ("peer",)),), rows)
    assert tuple(table.rows[-1][-3:]) == verdict


def test_a_bar_without_peers_is_of_the_ceiling() -> None:
    bars = importlib.import_module("_bars")
    table = bars.bars_table((bars.Bar("ours", 0.4),), [row(1)])
    assert tuple(table.rows[-1][-3:]) == ("0.40 to 0.60", "1 x 2, threads: 1, the ceiling", "yes")
