"""The files of a benchmark's results: numbers in JSON, and the page that is made from them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from proxconnect.base.files import written_whole

RESULTS = Path("docs/results")


def add_run(
    name: str,
    run: dict[str, Any],
    kind: Callable[[dict[str, Any]], Any],
    page: Callable[[dict[str, Any]], str],
) -> dict[str, Any]:
    """Write the results with a run more, which replaces a run of its kind, and return them."""
    file = RESULTS / "data" / f"{name}.json"
    known = json.loads(file.read_text())["runs"] if file.is_file() else []
    result = {"runs": [*(old for old in known if kind(old) != kind(run)), run]}
    write_results(name, result, page)
    return result


def write_results(name: str, result: dict[str, Any], page: Callable[[dict[str, Any]], str]) -> None:
    """Write ``docs/results/data/<name>.json`` and the page ``docs/results/<name>.md``."""
    for path, text in (
        (RESULTS / "data" / f"{name}.json", json.dumps(result, indent=1) + "\n"),
        (RESULTS / f"{name}.md", page(result)),
    ):
        with written_whole(path) as file:
            file.write_text(text)
