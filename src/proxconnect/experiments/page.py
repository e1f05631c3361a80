"""The page in Markdown of the results of a grid, made from these results alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxconnect.base.table import Table
from proxconnect.experiments.downloads import PAIRS, TABLES_FOLDER, file_names
from proxconnect.experiments.figures import FIGURES, file_of
from proxconnect.experiments.tables import (
    begun_tables,
    difference_table,
    in_words,
    method_table,
    pair_table,
    shared_options,
)


def page(results: Mapping[str, Any]) -> str:
    """Write the whole page of a grid.

    Tables of which more than half is pending are left out and named as such.
    """
    cells = results["cells"]
    done = [cell for cell in cells.values() if cell["status"] == "done"]
    lines = [f"# {results['title']}", "", f"{len(done)} of {len(cells)} cells are done.", ""]
    lines += [part for text in (results["data"], results["protocol"]) if text for part in (text, "")]
    begun = begun_tables(results)
    for table, name in zip(begun, file_names(results), strict=True):
        shared = in_words(shared_options([cells[name] for name in table["cells"]]))
        lines += [f"## {table['title']}", "", f"{table['regime']}{f'; {shared}' if shared else ''}.", ""]
        lines += _with_files(results, name, method_table(results, table["cells"]))
        differences = difference_table(results, table["cells"])
        if differences.rows:
            lines += ["Each row beside the first of its network, seed by seed:", ""]
            lines += _with_files(results, f"{name}-differences", differences)
    if waiting := [table["title"] for table in results["tables"] if table not in begun]:
        lines += ["## Not run, or less than half of it", "", *(f"- {title}" for title in waiting), ""]
    pairs = pair_table(results, results["pairs"])
    if pairs.rows:
        lines += ["## Paired differences", "", *_with_files(results, PAIRS, pairs)]
    figures = {name: figure for name, figure in FIGURES.items() if figure.can_be_drawn(results)}
    lines += ["## Figures", ""] if figures else []
    for name, figure in figures.items():
        lines += [f"{figure.caption}:", "", f"![{figure.caption}]({file_of(results, name)})", ""]
    return "\n".join([*lines, *_sources(results)]) + "\n"


def _with_files(results: Mapping[str, Any], name: str, table: Table) -> list[str]:
    """Write a table and the links to its files."""
    folder = f"{TABLES_FOLDER}/{results['grid']}"
    links = " ".join(f"[{kind}]({folder}/{name}.{end})" for kind, end in (("CSV", "csv"), ("LaTeX", "tex")))
    return [table.markdown(), "", links, ""]


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
        "  standard deviation, ±. With the *seeds needed* the interval of a difference would exclude 0,",
        "  if its mean and spread stayed.",
        f"- `proxconnect grid recipes/{results['grid']}.toml --render` makes this page from"
        f" [`data/{results['grid']}.json`](data/{results['grid']}.json).",
    ]
    return lines
