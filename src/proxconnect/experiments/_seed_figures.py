"""Figures of several seeds: accuracy with bands, differences, and what statistics of training predict."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from proxconnect.base.figures import apart, figure_to, line_look
from proxconnect.comparison import Line, draw_lines
from proxconnect.experiments.differences import row_differences
from proxconnect.experiments.tables import LATENT_STATISTICS, last_statistics, plain, rows_of

_MARKERS = "os^D"
_MOST_LABELS = 24  # below each other at the right of a panel

Rows = dict[str, list[Mapping[str, Any]]]


def tables_of_seeds(results: Mapping[str, Any]) -> dict[str, Rows]:
    """Find the rows of which two seeds or more are done, by the title of their table."""
    found = {}
    for table in results["tables"]:
        cells = [results["cells"][name] for name in table["cells"]]
        rows = {
            row: [cell for cell in of_row if cell["status"] == "done"]
            for row, of_row in rows_of(cells).items()
        }
        if rows := {row: done for row, done in rows.items() if len(done) > 1}:
            found[table["title"]] = rows
    return found


def tables_of_bands(results: Mapping[str, Any]) -> dict[str, Rows]:
    """Find the rows of :func:`tables_of_seeds` whose runs recorded their accuracy by epoch."""
    found = {}
    for title, rows in tables_of_seeds(results).items():
        rows = {row: cells for row, cells in rows.items() if all(map(_accuracies, cells))}
        if rows:
            found[title] = rows
    return found


def draw_bands(results: Mapping[str, Any], path: Path) -> None:
    """Draw the mean accuracy over seeds by epoch, with one standard deviation: a panel for each table."""
    tables = tables_of_bands(results)
    with figure_to(path, (8, 3.6 * len(tables))) as figure:
        panels = figure.subplots(len(tables), squeeze=False).flat
        for axes, (title, rows) in zip(panels, tables.items(), strict=True):
            ends = {}
            for place, (row, cells) in enumerate(rows.items()):
                look = line_look(place)
                by_epoch = list(zip(*map(_accuracies, cells), strict=True))
                means = [statistics.mean(seeds) for seeds in by_epoch]
                spreads = [statistics.stdev(seeds) for seeds in by_epoch]
                epochs = range(1, len(means) + 1)
                axes.plot(epochs, means, linewidth=1.2, **look)
                low, high = (
                    [mean + sign * spread for mean, spread in zip(means, spreads, strict=True)]
                    for sign in (-1, 1)
                )
                axes.fill_between(epochs, low, high, color=look["color"], alpha=0.12, linewidth=0)
                ends[row] = (len(means), means[-1], look["color"])
            axes.set_title(title, fontsize=9, loc="left")
            axes.set(xlabel="epoch", ylabel="validation accuracy, %")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(alpha=0.3)
            _label_ends(axes, ends)


def _accuracies(cell: Mapping[str, Any]) -> list[float]:
    return [100 * share for share in cell["record"]["history"].get("val_accuracy", [])]


def _label_ends(axes: Any, ends: Mapping[str, tuple[float, float, str]]) -> None:
    """Write the name of each line at the right of its end, where no two names overlap."""
    low, high = axes.get_ylim()
    heights = [(height - low) / (high - low) for _, height, _ in ends.values()]
    places = apart(heights, 1 / _MOST_LABELS)
    for (row, (epoch, height, color)), place in zip(ends.items(), places, strict=True):
        axes.annotate(
            plain(row),
            xy=(epoch, height),
            xytext=(1.03, place),
            textcoords="axes fraction",
            arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.5, "relpos": (0, 0.5)},
            color=color,
            fontsize=7,
            verticalalignment="center",
        )


def forests(results: Mapping[str, Any]) -> dict[tuple[str, str], list[Line]]:
    """Compare each row of :func:`tables_of_seeds` with the first of its network, the best first.

    Returns:
        the lines of a forest plot, by the title of the table and the row that the others are compared with.
    """
    found: dict[tuple[str, str], list[Line]] = {}
    for title, rows in tables_of_seeds(results).items():
        for one in sorted(row_differences(rows), key=lambda one: -one.mean):
            label = textwrap.fill(plain(one.row), 45)
            found.setdefault((title, plain(one.first)), []).append(Line(label, one.mean, one.half))
    return found


def draw_differences(results: Mapping[str, Any], path: Path) -> None:
    """Draw the forest plots of :func:`forests` below each other."""
    plots = forests(results)
    sizes = [len(lines) + 1.5 for lines in plots.values()]
    with figure_to(path, (8, 0.6 + 0.32 * sum(sizes))) as figure:
        panels = figure.subplots(len(plots), squeeze=False, height_ratios=sizes).flat
        for axes, ((title, first), lines) in zip(panels, plots.items(), strict=True):
            draw_lines(axes, lines)
            axes.set_title(textwrap.fill(f"{title}, beside {first}", 65), fontsize=9, loc="left")
        figure.supxlabel("difference of the validation accuracy, seed by seed, points", fontsize=9)


def runs_beside_their_table(
    results: Mapping[str, Any],
) -> Iterator[tuple[str, dict[str, float], float]]:
    """List the finished 1-bit runs of tables that have several.

    Yields:
        the method, its statistics of training in the last epoch, and the points by which the packed network
        is more accurate than the mean of its table, for the same network and seed.
    """
    for table in results["tables"]:
        groups: dict[tuple[str, str, int], list[Mapping[str, Any]]] = {}
        for cell in map(results["cells"].__getitem__, table["cells"]):
            if cell["status"] == "done" and last_statistics(cell):
                groups.setdefault((cell["model"], cell["setting"], cell["seed"]), []).append(cell)
        for cells in groups.values():
            mean = statistics.mean(cell["record"]["packed"] for cell in cells)
            if len(cells) > 1:
                for cell in cells:
                    yield cell["method"], last_statistics(cell), 100 * (cell["record"]["packed"] - mean)


def draw_predictors(results: Mapping[str, Any], path: Path) -> None:
    """Draw accuracy against statistics of training: a panel for each, a point for each run."""
    from scipy.stats import spearmanr

    runs = list(runs_beside_their_table(results))
    methods = list(dict.fromkeys(method for method, _, _ in runs))
    with figure_to(path, (9, 7)) as figure:
        for axes, (key, name) in zip(figure.subplots(2, 2).flat, LATENT_STATISTICS.items(), strict=True):
            known = [(method, last[key], gap) for method, last, gap in runs if key in last]
            for place, method in enumerate(methods):
                own = [(value, gap) for other, value, gap in known if other == method]
                axes.scatter(
                    [value for value, _ in own],
                    [gap for _, gap in own],
                    s=16,
                    label=method,
                    color=line_look(place)["color"],
                    marker=_MARKERS[place // 10 % len(_MARKERS)],
                )
            axes.set(xlabel=name, ylabel="points beside the mean of the table")
            axes.grid(alpha=0.3)
            values, gaps = [value for _, value, _ in known], [gap for _, _, gap in known]
            if len(set(values)) > 1 and len(set(gaps)) > 1:
                rank = f"rank correlation {spearmanr(values, gaps).statistic:+.2f}, {len(known)} runs"
                axes.set_title(rank, fontsize=9, loc="left")
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right center", fontsize=7, frameon=False)
