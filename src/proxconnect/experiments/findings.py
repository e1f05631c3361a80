"""The rendered parts of a page whose other parts are written by hand."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from proxconnect.base.table import Table
from proxconnect.comparison import smallest_told
from proxconnect.errors import TrainingError, unknown_name
from proxconnect.experiments.differences import row_differences
from proxconnect.experiments.tables import (
    LATENT_STATISTICS,
    PENDING,
    difference_table,
    last_statistics,
    method_table,
    pair_table,
    rows_of,
)

_BLOCK = re.compile(r"(<!-- rendered: (?P<what>[^\n]*?) -->\n).*?(<!-- end -->)", re.DOTALL)
_SEEDS = (3, 5, 10, 30)


def has_rendered_parts(text: str) -> bool:
    """Tell whether a page has parts that :func:`with_rendered_parts` renders."""
    return _BLOCK.search(text) is not None


def with_rendered_parts(text: str, data: Path) -> str:
    r"""Render the parts of ``text`` between marks again, from the JSON files in ``data``.

    A part stands between ``<!-- rendered: KIND of GRID, SELECTION -->`` and ``<!-- end -->``. Its kind is one
    of:

    - ``methods``: the rows of the table whose title is the selection; without a selection, of all tables;
    - ``latents``: the statistics of the latents of the cells of such a table;
    - ``differences``: each row of such a table beside the first of its network, over the seeds;
    - ``power``: the differences that so many seeds tell, from the spread of those in such a table;
    - ``pairs``: the pairs of the grid, or a pair selected as ``bnn++m and bnn++``;
    - ``accumulators``: the cost of 8-bit accumulators beside 32-bit ones, and the share of overflows.

    Raises:
        TrainingError: a part or grid does not exist.
    """

    def part(found: re.Match[str]) -> str:
        kind, _, rest = found["what"].partition(" of ")
        grid, _, selection = rest.partition(", ")
        if kind not in PARTS:
            raise TrainingError(f"rendered parts: {unknown_name('rendered part', kind, PARTS)}")
        file = data / f"{grid}.json"
        if not file.is_file():
            raise TrainingError(f"rendered parts: there are no results of grid {grid!r} ({file})")
        return f"{found[1]}{PARTS[kind](json.loads(file.read_text(encoding='utf-8')), selection)}\n{found[3]}"

    return _BLOCK.sub(part, text)


def _methods(results: Mapping[str, Any], selection: str) -> str:
    names = _table(results, selection) if selection else list(results["cells"])
    return method_table(results, names).markdown()


def _differences(results: Mapping[str, Any], selection: str) -> str:
    return difference_table(results, _table(results, selection)).markdown()


def _power(results: Mapping[str, Any], selection: str) -> str:
    cells = [results["cells"][name] for name in _table(results, selection)]
    spreads = [one.spread for one in row_differences(rows_of(cells))]
    if not spreads:
        return ""
    spread = statistics.median(spreads)
    columns = ("differences", "spread of one seed, points", *(f"{seeds} seeds tell" for seeds in _SEEDS))
    told = [f"{smallest_told(spread, seeds):.2f}" for seeds in _SEEDS]
    return Table(columns, [[str(len(spreads)), f"{spread:.2f}", *told]], numbers=columns).markdown()


def _pairs(results: Mapping[str, Any], selection: str) -> str:
    table = pair_table(results, [selection.split(" and ")] if selection else results["pairs"])
    return table.markdown() if table.rows else ""


def _latents(results: Mapping[str, Any], selection: str) -> str:
    rows = []
    for name in _table(results, selection):
        cell = results["cells"][name]
        last = last_statistics(cell)
        shares = [f"{last[key]:.2g}" if key in last else "" for key in LATENT_STATISTICS]
        if not cell.get("record", {}).get("history"):
            shares[0] = PENDING
        rows.append([f"`{cell['method']}`", str(cell["seed"]), *shares])
    return Table(("method", "seed", *LATENT_STATISTICS.values()), rows).markdown()


def _accumulators(results: Mapping[str, Any], selection: str) -> str:
    cells = results["cells"]
    rows = []
    for name, cell in cells.items():
        wide = cells.get(name.replace("-bwaa-", "-bwa-"))
        if cell["setting"] != "bwaa" or wide is None:
            continue
        row = [cell["model"], cell["regime"], f"`{cell['method']}`", str(cell["seed"])]
        if "record" in cell and "record" in wide:
            both = [100 * width["record"]["packed"] for width in (wide, cell)]
            rate = cell["record"]["history"].get("overflow_rate", [float("nan")])[-1]
            row += [*(f"{share:.2f} %" for share in both), f"{both[0] - both[1]:+.2f}", f"{rate:.2g}"]
        else:
            row += [PENDING, "", "", ""]
        rows.append(row)
    columns = ("model", "regime", "method", "seed", "32 bit", "8 bit", "cost, points", "overflow rate")
    return Table(columns, rows).markdown()


def _table(results: Mapping[str, Any], title: str) -> Sequence[str]:
    names = {table["title"]: table["cells"] for table in results["tables"]}
    if title not in names:
        raise TrainingError(f"rendered parts: {unknown_name('table', title, names)}")
    found: Sequence[str] = names[title]
    return found


PARTS: dict[str, Callable[[Mapping[str, Any], str], str]] = {
    "methods": _methods,
    "latents": _latents,
    "differences": _differences,
    "power": _power,
    "pairs": _pairs,
    "accumulators": _accumulators,
}
