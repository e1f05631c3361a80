"""The page about runs that do not converge shows what its tool measures, and bad runs look bad."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

from looking import every

ROOT = Path(__file__).parents[2]
TOOL = runpy.run_path(str(ROOT / "tools" / "debug_pictures.py"))
STORED = json.loads((ROOT / "docs" / "debug" / "runs.json").read_text())


def test_the_page_has_the_table_and_the_pictures_of_the_runs() -> None:
    page = (ROOT / "docs" / "debug.md").read_text()
    assert TOOL["table"](STORED) in page
    assert {path.stem for path in (ROOT / "docs" / "debug").glob("*.png")} == set(TOOL["PICTURES"])
    assert every(f"](debug/{name}.png)" in page for name in TOOL["PICTURES"])
    assert [STORED[name]["title"] for name in TOOL["RUNS"]] == [run.title for run in TOOL["RUNS"].values()]


def test_bad_runs_differ_from_a_good_one_where_the_page_says() -> None:
    runs = {name: TOOL["train"](run, steps=40) for name, run in TOOL["RUNS"].items()}
    first, last = ({name: run["rows"][place] for name, run in runs.items()} for place in (0, -1))
    assert first["frozen"]["flip_rate"] < 0.1 * first["good"]["flip_rate"]
    assert first["closed"]["gradient_killed"] > 0.9 > first["good"]["gradient_killed"]
    assert last["open"]["level_distance"] > 0.1 > last["good"]["level_distance"]
    assert runs["open"]["hardened"] < runs["open"]["trained"] + 0.01
    assert last["wide"]["overflow_rate"] < 0.01 < last["overflow"]["overflow_rate"]
    assert last["penalty"]["overflow_rate"] < last["overflow"]["overflow_rate"]
