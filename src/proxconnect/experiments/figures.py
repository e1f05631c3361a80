"""Figures of the results of a grid, made from these results alone."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from proxconnect.base.figures import figure_to, line_look
from proxconnect.comparison import Line, draw_forest
from proxconnect.experiments import _seed_figures
from proxconnect.experiments.pairs import compared_pairs

_PANELS = 6
_LINES = 6


class Figure(NamedTuple):
    """A figure of a page.

    Args:
        caption: describes the figure.
        draw: draws the results to a file.
        can_be_drawn: tells whether the results hold enough to draw.
        ending: the ending of its file. SVG suits lines, and stays small.
    """

    caption: str
    draw: Callable[[Mapping[str, Any], Path], None]
    can_be_drawn: Callable[[Mapping[str, Any]], bool]
    ending: str = "png"


def file_of(results: Mapping[str, Any], name: str) -> str:
    """Name the file of the figure ``name`` of a grid."""
    return f"{results['grid']}-{name}.{FIGURES[name].ending}"


def draw_pareto(results: Mapping[str, Any], path: Path) -> None:
    """Draw accuracy against bytes of all finished cells; a line joins the cells that no other cell beats."""
    done = _done(results)
    groups: dict[str, list[tuple[int, float]]] = {}
    for cell in done:
        groups.setdefault(_group(cell), []).append((cell["record"]["bytes"], 100 * cell["record"]["packed"]))
    with figure_to(path, (7, 4.5)) as figure:
        axes = figure.subplots()
        for name, points in groups.items():
            axes.scatter([size for size, _ in points], [share for _, share in points], s=18, label=name)
        front = pareto_front([point for points in groups.values() for point in points])
        axes.plot(
            [size for size, _ in front],
            [share for _, share in front],
            color="0.6",
            linewidth=1,
            zorder=0,
            label="not beaten",
        )
        axes.set(xscale="log", xlabel="bytes of the packed file", ylabel="validation accuracy, %")
        axes.legend(fontsize=8)
        axes.grid(alpha=0.3)


def pareto_front(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Return the points that are more accurate than every smaller point, ordered by size.

    >>> pareto_front([(10, 80.0), (5, 85.0), (20, 90.0), (20, 70.0)])
    [(5, 85.0), (20, 90.0)]
    """
    front: list[tuple[int, float]] = []
    for size, accuracy in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or accuracy > front[-1][1]:
            front.append((size, accuracy))
    return front


def draw_flips(results: Mapping[str, Any], path: Path) -> None:
    """Draw flips, and latents outside the exact interval, by epoch: a row for each table, seed 0 alone.

    Of a table with more runs six are drawn, spread evenly over the flips of the last epoch.
    """
    tables = {
        title: _spread(cells, lambda cell: float(cell["record"]["history"]["flip_rate"][-1]))
        for title, cells in _tables(results, "history", "flip_rate").items()
    }
    with figure_to(path, (11, 2.8 * len(tables))) as figure:
        rows = figure.subplots(
            len(tables), 3, squeeze=False, sharex="row", sharey="col", width_ratios=(4, 4, 2)
        )
        for (flips, outside, legend), (title, cells) in zip(rows, tables.items(), strict=True):
            for index, cell in enumerate(cells):
                look = line_look(index)
                history = cell["record"]["history"]
                # An epoch without flips has no place on a logarithmic axis: the line ends there.
                flipped = [rate or math.nan for rate in history["flip_rate"]]
                flips.plot(range(1, len(flipped) + 1), flipped, label=_label(cell), **look)
                shares = history.get("outside_exact", [])
                outside.plot(range(1, len(shares) + 1), shares, **look)
            flips.set(yscale="log", ylabel="flip rate")
            flips.set_title(title, fontsize=9, loc="left")
            outside.set(ylim=(-0.04, 1.04), ylabel="outside the exact interval")
            for axes in (flips, outside):
                axes.set_xlabel("epoch")
                axes.xaxis.get_major_locator().set_params(integer=True)
                axes.grid(alpha=0.3)
            legend.set_axis_off()
            legend.legend(
                *flips.get_legend_handles_labels(),
                loc="center left",
                fontsize=7,
                ncols=math.ceil(len(cells) / 12),
                frameon=False,
            )


def _spread(
    cells: list[Mapping[str, Any]], key: Callable[[Mapping[str, Any]], float]
) -> list[Mapping[str, Any]]:
    """Choose at most ``_LINES`` cells, evenly over their order by ``key``, and keep them as they stand."""
    if len(cells) <= _LINES:
        return cells
    order = sorted(range(len(cells)), key=lambda place: key(cells[place]))
    chosen = {order[round(index * (len(cells) - 1) / (_LINES - 1))] for index in range(_LINES)}
    return [cell for place, cell in enumerate(cells) if place in chosen]


def draw_curves(results: Mapping[str, Any], path: Path) -> None:
    """Draw the loss and the accuracy of every run by epoch: a row for each table, its seeds in one colour."""
    tables = _tables(results, "history", "val_accuracy", every_seed=True)
    with figure_to(path, (11, 2.8 * len(tables))) as figure:
        rows = figure.subplots(len(tables), 3, squeeze=False, width_ratios=(4, 4, 2))
        for (losses, accuracies, legend), (title, cells) in zip(rows, tables.items(), strict=True):
            places = {label: place for place, label in enumerate(dict.fromkeys(map(_label, cells)))}
            for cell in cells:
                look = line_look(places[_label(cell)])
                history = cell["record"]["history"]
                loss = history.get("train_loss", [])
                losses.plot(range(1, len(loss) + 1), loss, linewidth=1, **look)
                shares = [100 * share for share in history["val_accuracy"]]
                accuracies.plot(range(1, len(shares) + 1), shares, linewidth=1, **look)
            losses.set(ylabel="training loss")
            losses.set_title(title, fontsize=9, loc="left")
            accuracies.set(ylabel="validation accuracy, %")
            for axes in (losses, accuracies):
                axes.set_xlabel("epoch")
                axes.xaxis.get_major_locator().set_params(integer=True)
                axes.grid(alpha=0.3)
            legend.set_axis_off()
            lines = [accuracies.lines[list(map(_label, cells)).index(label)] for label in places]
            columns = math.ceil(len(places) / 12)
            legend.legend(lines, list(places), loc="center left", fontsize=7, ncols=columns, frameon=False)


def draw_latents(results: Mapping[str, Any], path: Path) -> None:
    """Draw histograms of the latents, later epochs darker: a panel for each cell, seed 0 alone."""
    cells = {id(cell): cell for table in _tables(results, "latents").values() for cell in table}.values()
    height = math.ceil(len(cells) / _PANELS)
    with figure_to(path, (1.8 * _PANELS, 1.7 * height)) as figure:
        panels = figure.subplots(height, _PANELS, squeeze=False).flat
        for axes, cell in itertools.zip_longest(panels, cells):
            if cell is None:
                axes.set_axis_off()
                continue
            histograms = cell["record"]["latents"]
            for index, shares in enumerate(histograms.values()):
                edges = [-3 + 6 * edge / len(shares) for edge in range(len(shares) + 1)]
                axes.stairs(shares, edges, color=str(0.8 * (1 - (index + 1) / len(histograms))))
            axes.set_title(f"{_group(cell)}\n{textwrap.fill(_label(cell), 28)}", fontsize=7)
            axes.set_yticks([])
            axes.tick_params(labelsize=6)


def draw_pairs(results: Mapping[str, Any], path: Path) -> None:
    """Draw the forest plot of the pairs that the grid compares, table by table."""
    lines = [
        Line(f"{found.second} - {found.first}, {textwrap.shorten(found.table, 60)}", found.mean, found.half)
        for found in compared_pairs(results, results["pairs"])
    ]
    draw_forest(lines, path, "validation accuracy of the second method less that of the first, points")


def _group(cell: Mapping[str, Any]) -> str:
    return " ".join(dict.fromkeys((cell["model"], cell["setting"], cell["regime"])))


def _label(cell: Mapping[str, Any]) -> str:
    return " ".join([cell["method"], *(f"{key} {value}" for key, value in cell["varied"].items())])


def _tables(
    results: Mapping[str, Any], *keys: str, every_seed: bool = False
) -> dict[str, list[Mapping[str, Any]]]:
    """Find the finished cells whose records have something at ``keys``, by table; of seed 0, or all."""

    def has(cell: Mapping[str, Any]) -> bool:
        value = cell.get("record", {})
        for key in keys:
            value = value.get(key, {})
        return bool(value) and (every_seed or cell["seed"] == 0)

    found = {}
    for table in results["tables"]:
        cells = [cell for cell in map(results["cells"].__getitem__, table["cells"]) if has(cell)]
        if cells:
            found[table["title"]] = cells
    return found


def _done(results: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [cell for cell in results["cells"].values() if cell["status"] == "done"]


FIGURES: dict[str, Figure] = {
    "pareto": Figure(
        "Validation accuracy of the packed network against the bytes of its file",
        draw_pareto,
        lambda results: bool(_done(results)),
    ),
    "curves": Figure(
        "Training loss and validation accuracy of every run by epoch",
        draw_curves,
        lambda results: bool(_tables(results, "history", "val_accuracy", every_seed=True)),
        "svg",
    ),
    "flips": Figure(
        "Share of the binary weights that flip in an epoch, and of latents outside the exact interval",
        draw_flips,
        lambda results: bool(_tables(results, "history", "flip_rate")),
    ),
    "latents": Figure(
        "Histograms of the latent weights in units of their scales, from -3 to 3, later epochs darker",
        draw_latents,
        lambda results: bool(_tables(results, "latents")),
    ),
    "pairs": Figure(
        "Difference of the two methods of each pair, with its 95 % interval",
        draw_pairs,
        lambda results: any(compared_pairs(results, results["pairs"])),
    ),
    "bands": Figure(
        "Validation accuracy by epoch: the mean over seeds and one standard deviation",
        _seed_figures.draw_bands,
        lambda results: bool(_seed_figures.tables_of_bands(results)),
        "svg",
    ),
    "differences": Figure(
        "Difference of each row to the first row of its network, with its 95 % interval",
        _seed_figures.draw_differences,
        lambda results: bool(_seed_figures.forests(results)),
    ),
    "predictors": Figure(
        "Accuracy beside the mean of the table, same network and seed, against statistics of the last epoch",
        _seed_figures.draw_predictors,
        lambda results: len(list(_seed_figures.runs_beside_their_table(results))) > 1,
    ),
}
"""The figures of a page; each key is the end of a file's name."""
