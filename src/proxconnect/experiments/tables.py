"""The tables of the results of a grid, as texts and as numbers, made from these results alone."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from proxconnect.base.table import Table
from proxconnect.experiments.differences import RowDifference, row_differences
from proxconnect.experiments.pairs import ComparedPair, compared_pairs

PENDING = "pending"
LATENT_STATISTICS = {
    "flip_rate": "flips, last epoch",
    "outside_exact": "outside the exact interval",
    "gradient_killed": "gradient stopped",
    "level_distance": "distance from the levels",
}
"""Statistics of the latents in a record, in words."""
_COLUMNS = (
    "method",
    "seeds",
    "validation: trained",
    "packed",
    "below full precision",
    "test: packed",
    "file, bytes",
    "mu at the end",
    "minutes",
)
_OF_DIFFERENCES = ("95 % interval", "reading", "seeds needed")
_PAIR_COLUMNS = ("table", "first", "second", "seeds", "second - first, points", *_OF_DIFFERENCES)


def begun_tables(results: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """List the tables of which at least half is done, which a page shows."""
    return [table for table in results["tables"] if mostly_done(results, table["cells"])]


def mostly_done(results: Mapping[str, Any], names: Sequence[str]) -> bool:
    """Tell whether at least half of the cells ``names`` are done."""
    done = [name for name in names if results["cells"][name]["status"] == "done"]
    return 2 * len(done) >= len(names)


def method_table(results: Mapping[str, Any], names: Sequence[str]) -> Table:
    """Make a table with a row for every method of the cells ``names``, its seeds together."""
    groups = rows_of([results["cells"][name] for name in names])
    rows = (_row(label, _numbers(results, label, cells)) for label, cells in groups.items())
    return Table(_COLUMNS, rows, numbers=_COLUMNS[1:])


def method_numbers(results: Mapping[str, Any], names: Sequence[str]) -> list[dict[str, Any]]:
    """List the rows of :func:`method_table` as numbers; accuracies and distances are in points of 100."""
    groups = rows_of([results["cells"][name] for name in names])
    return [_numbers(results, label, cells) for label, cells in groups.items()]


def last_statistics(cell: Mapping[str, Any]) -> dict[str, float]:
    """Return the statistics of a cell's latents in the last epoch that were recorded, by their keys."""
    history = cell.get("record", {}).get("history", {})
    return {key: history[key][-1] for key in LATENT_STATISTICS if history.get(key)}


def rows_of(cells: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Put the seeds of each row of a table together, by the row's label."""
    shared = shared_options(cells)
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for cell in cells:
        network = [cell[key] for key in ("model", "setting") if len({other[key] for other in cells}) > 1]
        own = in_words({key: value for key, value in cell["options"].items() if key not in shared})
        label = ", ".join(filter(None, [" ".join([*network, f"`{cell['method']}`"]), own]))
        groups.setdefault(label, []).append(cell)
    return groups


def shared_options(cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the options that all cells have in common."""
    first, *others = (cell["options"] for cell in cells)
    return {key: value for key, value in first.items() if all(other.get(key) == value for other in others)}


def in_words(options: Mapping[str, Any]) -> str:
    """Write options in words: an option that is on by its name alone, others with their values."""
    words = {key.replace("_", " "): value for key, value in options.items()}
    return ", ".join(key if value is True else f"{key} {value}" for key, value in words.items())


def _numbers(results: Mapping[str, Any], label: str, cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    records = [cell["record"] for cell in cells if cell["status"] == "done"]
    tests = [record["test"]["accuracy"] for record in records if record["test"]]
    sharpness = {record["mu"] for record in records}
    gaps = _gaps(results, cells)
    return {
        "method": plain(label),
        "seeds": len(records),
        "planned": len(cells),
        **_of_seeds("trained", [100 * record["trained"] for record in records]),
        **_of_seeds("packed", [100 * record["packed"] for record in records]),
        "below_full_precision": statistics.mean(gaps) if gaps else None,
        **_of_seeds("test", [100 * share for share in tests] if len(tests) == len(records) else []),
        "bytes": records[0]["bytes"] if records else None,
        "mu": sharpness.pop() if len(sharpness) == 1 else None,
        "minutes": statistics.mean(record["seconds"] for record in records) / 60 if records else None,
    }


def _of_seeds(name: str, values: Sequence[float]) -> dict[str, float | None]:
    return {
        name: statistics.mean(values) if values else None,
        f"{name}_sd": statistics.stdev(values) if len(values) > 1 else None,
    }


def _row(label: str, numbers: Mapping[str, Any]) -> list[str]:
    done, planned = numbers["seeds"], numbers["planned"]
    start = [label, str(done) if done == planned else f"{done} of {planned}"]
    if not done:
        return [*start, PENDING, *[""] * (len(_COLUMNS) - 3)]
    gap, mu = numbers["below_full_precision"], numbers["mu"]
    return [
        *start,
        _share(numbers, "trained"),
        _share(numbers, "packed"),
        "" if gap is None else f"{gap:+.2f}",
        _share(numbers, "test"),
        f"{numbers['bytes']:,}",
        "" if mu is None else f"{mu:.4g}",
        f"{numbers['minutes']:.0f}",
    ]


def _gaps(results: Mapping[str, Any], cells: Sequence[Mapping[str, Any]]) -> list[float]:
    """List the points lost to full precision, for the cells whose full precision is done too."""
    found = []
    for cell in cells:
        reference = results["cells"].get(cell["full_precision"], {"status": PENDING})
        if cell["status"] == reference["status"] == "done":
            found.append(100 * (reference["record"]["packed"] - cell["record"]["packed"]))
    return found


def difference_table(results: Mapping[str, Any], names: Sequence[str]) -> Table:
    """Compare the rows of a table with the first row of their network, seed by seed.

    A table without several seeds has no rows.
    """
    columns = ("row", "seeds", "difference, points", *_OF_DIFFERENCES)
    rows = [
        [one.row, str(one.seeds), *_difference(one, better="better", worse="worse")]
        for one in row_differences(rows_of([results["cells"][name] for name in names]))
    ]
    return Table(columns, rows, numbers=(*columns[1:4], columns[-1]))


def difference_numbers(results: Mapping[str, Any], names: Sequence[str]) -> list[dict[str, Any]]:
    """List the rows of :func:`difference_table` as numbers."""
    found = row_differences(rows_of([results["cells"][name] for name in names]))
    return [
        {"row": plain(one.row), "beside": plain(one.first), "seeds": one.seeds, **_ends(one)} for one in found
    ]


def pair_table(results: Mapping[str, Any], pairs: Iterable[Sequence[str]]) -> Table:
    """Compare the two methods of each pair, seed by seed, wherever both are done."""
    rows = [
        [
            one.table,
            f"`{one.first}`",
            f"`{one.second}`",
            f"{one.done} of {one.planned}",
            *_difference(one, better=f"`{one.second}` is better", worse=f"`{one.first}` is better"),
        ]
        for one in compared_pairs(results, pairs)
    ]
    return Table(_PAIR_COLUMNS, rows, numbers=(*_PAIR_COLUMNS[3:6], _PAIR_COLUMNS[-1]))


def pair_numbers(results: Mapping[str, Any], pairs: Iterable[Sequence[str]]) -> list[dict[str, Any]]:
    """List the rows of :func:`pair_table` as numbers."""
    return [
        {"table": one.table, "first": one.first, "second": one.second, "seeds": one.done, **_ends(one)}
        for one in compared_pairs(results, pairs)
    ]


def _difference(found: ComparedPair | RowDifference, *, better: str, worse: str) -> list[str]:
    low, high = found.mean - found.half, found.mean + found.half
    reading = "within noise" if abs(found.mean) <= found.half else better if found.mean > 0 else worse
    needed = "" if found.needed is None else f"{found.needed:,}"
    return [f"{found.mean:+.2f}", f"{low:+.2f} to {high:+.2f}", reading, needed]


def _ends(found: ComparedPair | RowDifference) -> dict[str, Any]:
    low, high = found.mean - found.half, found.mean + found.half
    return {"difference": found.mean, "low": low, "high": high, "seeds_needed": found.needed}


def plain(label: str) -> str:
    """Return the label of a row without marks of Markdown."""
    return label.replace("`", "")


def _share(numbers: Mapping[str, Any], name: str) -> str:
    mean, spread = numbers[name], numbers[f"{name}_sd"]
    return "" if mean is None else f"{mean:.2f}{'' if spread is None else f' ± {spread:.2f}'} %"
