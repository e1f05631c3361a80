"""Pages in Markdown of the results of a grid, made from these results alone."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from proxconnect.base.table import Table
from proxconnect.experiments.figures import FIGURES
from proxconnect.experiments.pairs import ComparedPair, compared_pairs

PENDING = "pending"
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
_PAIR_COLUMNS = ("table", "first", "second", "seeds", "second - first, points", "95 % interval", "reading")


def page(results: Mapping[str, Any]) -> str:
    """Write the whole page of a grid.

    Tables of which more than half is pending are left out and named as such.
    """
    cells = results["cells"]
    done = [cell for cell in cells.values() if cell["status"] == "done"]
    lines = [f"# {results['title']}", "", f"{len(done)} of {len(cells)} cells are done.", ""]
    lines += [part for text in (results["data"], results["protocol"]) if text for part in (text, "")]
    begun = [table for table in results["tables"] if mostly_done(results, table["cells"])]
    for table in begun:
        shared = _in_words(_shared([cells[name] for name in table["cells"]]))
        lines += [f"## {table['title']}", "", f"{table['regime']}{f'; {shared}' if shared else ''}.", ""]
        lines += [method_table(results, table["cells"]), ""]
    if waiting := [table["title"] for table in results["tables"] if table not in begun]:
        lines += ["## Not run, or less than half of it", "", *(f"- {title}" for title in waiting), ""]
    if pairs := pair_table(results, results["pairs"]):
        lines += ["## Pairs and their repairs", "", pairs, ""]
    figures = {name: figure for name, figure in FIGURES.items() if figure.can_be_drawn(results)}
    lines += ["## Figures", ""] if figures else []
    for name, figure in figures.items():
        lines += [f"{figure.caption}:", "", f"![{figure.caption}]({results['grid']}-{name}.png)", ""]
    return "\n".join([*lines, *_sources(results)]) + "\n"


def mostly_done(results: Mapping[str, Any], names: Sequence[str]) -> bool:
    """Tell whether at least half of the cells ``names`` are done."""
    done = [name for name in names if results["cells"][name]["status"] == "done"]
    return 2 * len(done) >= len(names)


def method_table(results: Mapping[str, Any], names: Sequence[str]) -> str:
    """Write a table with a row for every method of the cells ``names``, its seeds together."""
    cells = [results["cells"][name] for name in names]
    shared = _shared(cells)
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for cell in cells:
        network = [cell[key] for key in ("model", "setting") if len({other[key] for other in cells}) > 1]
        own = _in_words({key: value for key, value in cell["options"].items() if key not in shared})
        label = ", ".join(filter(None, [" ".join([*network, f"`{cell['method']}`"]), own]))
        groups.setdefault(label, []).append(cell)
    rows = (_row(results, label, cells) for label, cells in groups.items())
    return Table(_COLUMNS, rows).markdown()


def _shared(cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the options that all cells have in common."""
    first, *others = (cell["options"] for cell in cells)
    return {key: value for key, value in first.items() if all(other.get(key) == value for other in others)}


def _in_words(options: Mapping[str, Any]) -> str:
    words = {key.replace("_", " "): value for key, value in options.items()}
    return ", ".join(key if value is True else f"{key} {value}" for key, value in words.items())


def _row(results: Mapping[str, Any], label: str, cells: Sequence[Mapping[str, Any]]) -> list[str]:
    records = [cell["record"] for cell in cells if cell["status"] == "done"]
    seeds = str(len(records)) if len(records) == len(cells) else f"{len(records)} of {len(cells)}"
    if not records:
        return [label, seeds, PENDING, *[""] * (len(_COLUMNS) - 3)]
    tests = [record["test"]["accuracy"] for record in records if record["test"]]
    sharpness = {record["mu"] for record in records}
    mu = sharpness.pop() if len(sharpness) == 1 else None
    return [
        label,
        seeds,
        _share([record["trained"] for record in records]),
        _share([record["packed"] for record in records]),
        _points(_gaps(results, cells)),
        _share(tests) if len(tests) == len(records) else "",
        f"{records[0]['bytes']:,}",
        "" if mu is None else f"{mu:.4g}",
        f"{statistics.mean(record['seconds'] for record in records) / 60:.0f}",
    ]


def _gaps(results: Mapping[str, Any], cells: Sequence[Mapping[str, Any]]) -> list[float]:
    """List the points lost to full precision, for the cells whose full precision is done too."""
    found = []
    for cell in cells:
        reference = results["cells"].get(cell["full_precision"], {"status": PENDING})
        if cell["status"] == reference["status"] == "done":
            found.append(100 * (reference["record"]["packed"] - cell["record"]["packed"]))
    return found


def pair_table(results: Mapping[str, Any], pairs: Iterable[Sequence[str]]) -> str:
    """Compare the two methods of each pair, seed by seed, wherever both are done; "" where none are."""
    rows = [_pair_row(found) for found in compared_pairs(results, pairs)]
    return Table(_PAIR_COLUMNS, rows).markdown() if rows else ""


def _pair_row(found: ComparedPair) -> list[str]:
    start = [found.table, f"`{found.first}`", f"`{found.second}`", f"{found.done} of {found.planned}"]
    low, high = found.mean - found.half, found.mean + found.half
    better = found.second if found.mean > 0 else found.first
    reading = "within noise" if abs(found.mean) <= found.half else f"`{better}` is better"
    return [*start, f"{found.mean:+.2f}", f"{low:+.2f} to {high:+.2f}", reading]


def _sources(results: Mapping[str, Any]) -> list[str]:
    records = [cell["record"] for cell in results["cells"].values() if cell["status"] == "done"]
    prints = sorted({record["data_fingerprint"] for record in records})
    origins = [record["origin"] for record in records if record["origin"]]
    machines = sorted(
        {f"{run['accelerator'] or run['processor']}, PyTorch {run['torch']}" for run in origins}
    )
    commits = sorted({run["commit"] or "unknown" for run in origins})
    unknown = len(records) - len(origins)
    lines = ["## Where the numbers are from", ""]
    lines += [
        f"- Data, by the SHA-256 of images and labels: {', '.join(f'`{digest}`' for digest in prints)}"
    ] * bool(prints)
    lines += [f"- Machines: {'; '.join(machines)}"] * bool(machines)
    lines += [f"- Commits: {', '.join(f'`{commit}`' for commit in commits)}"] * bool(commits)
    lines += [f"- {unknown} run{'s' * (unknown > 1)} recorded neither commit nor machine."] * bool(unknown)
    lines += [
        "- *Below full precision* is the distance in points between the packed network and the packed",
        "  full-precision network of the same seed, on validation images. Several seeds have a mean and its",
        "  standard deviation, ±.",
        f"- `proxconnect grid recipes/{results['grid']}.toml --render` makes this page from"
        f" [`data/{results['grid']}.json`](data/{results['grid']}.json).",
    ]
    return lines


def _share(values: Sequence[float]) -> str:
    spread = f" ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):.2f}{spread} %"


def _points(values: Sequence[float]) -> str:
    return f"{statistics.mean(values):+.2f}" if values else ""
