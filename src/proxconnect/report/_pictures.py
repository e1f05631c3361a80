"""Charts and images as data that stand in a page itself."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor

from proxconnect.base.figures import line_look, save_figure
from proxconnect.base.optional import needed_for
from proxconnect.report.runs import Run
from proxconnect.trainer.curves import MOST_POINTS, draw_panel, panels_of

_SIZE = (4.4, 2.9)
_LARGEST_IMAGE = 96


class Picture(NamedTuple):
    """A picture as data, and the words that stand for it."""

    words: str
    data: str


def curves(run: Run) -> list[Picture]:
    """Draw the panels of a run's ``metrics.csv``, each as a picture, and the flips of its layers."""
    pictures = [
        Picture(f"{panel.title}, by epoch", _drawn(partial(draw_panel, panel=panel, rows=run.epochs)))
        for panel in panels_of(run.epochs)
    ]
    flips = {name: [row.get("flip_rate", math.nan) for row in rows] for name, rows in run.layers.items()}
    if any(rate > 0 for rates in flips.values() for rate in rates):
        height = max(_SIZE[1], 1 + 0.16 * len(flips))
        drawn = _drawn(partial(_draw_flips, flips=flips), (_SIZE[0], height))
        pictures.append(Picture("flips of each layer, by epoch", drawn))
    return pictures


def comparison(runs: Sequence[Run]) -> list[Picture]:
    """Draw the loss and the accuracy of all runs; runs of one label share a colour."""
    pictures = []
    for column, title in (("train_loss", "training loss"), ("val_accuracy", "validation accuracy")):
        shown = [run for run in runs if any(column in row for row in run.epochs)]
        if shown:
            labels = len({run.label for run in shown})
            size = (_SIZE[0], _SIZE[1] + 0.18 * labels)
            draw = partial(_draw_runs, runs=shown, column=column, title=title)
            pictures.append(Picture(f"{title} of all runs, by epoch", _drawn(draw, size)))
    return pictures


def _draw_runs(axes: Any, runs: Sequence[Run], column: str, title: str) -> None:
    places = {label: place for place, label in enumerate(dict.fromkeys(run.label for run in runs))}
    longest = max(len(run.epochs) for run in runs)
    named = set()
    for run in runs:
        rows = [row for row in run.epochs if column in row]
        axes.plot(
            [row["epoch"] for row in rows],
            [row[column] for row in rows],
            **line_look(places[run.label]),
            marker="o" if longest <= MOST_POINTS else "",
            markersize=3,
            label=None if run.label in named else run.label,
        )
        named.add(run.label)
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xlabel("epoch")
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axes.grid(alpha=0.3)
    axes.figure.legend(fontsize=8, loc="outside lower left", frameon=False)


def _draw_flips(axes: Any, flips: Mapping[str, Sequence[float]]) -> None:
    from matplotlib.colors import LogNorm

    rates = [rate for layer in flips.values() for rate in layer if rate > 0]
    epochs = max(map(len, flips.values()))
    rows = [
        [math.nan] * (epochs - len(layer)) + [rate or math.nan for rate in layer] for layer in flips.values()
    ]
    lowest, highest = min(rates), max(rates)
    drawn = axes.imshow(
        rows,
        aspect="auto",
        interpolation="nearest",
        cmap="viridis",
        norm=LogNorm(lowest, highest) if lowest < highest else None,
        extent=(0.5, epochs + 0.5, len(rows) - 0.5, -0.5),
    )
    axes.set_yticks(range(len(rows)), list(flips), fontsize=6)
    axes.set_xlabel("epoch")
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axes.set_title("flips of each layer (white: none)", fontsize=10, loc="left")
    axes.figure.colorbar(drawn, ax=axes)


def _drawn(draw: Callable[[Any], None], size: tuple[float, float] = _SIZE) -> str:
    """Draw to an SVG that has all its shapes in itself."""
    with needed_for("Drawing a figure", "plots"):
        from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    draw(figure.subplots())
    stream = io.BytesIO()
    save_figure(figure, stream, "svg")
    return _data("image/svg+xml", stream.getvalue())


def image(pixels: Tensor) -> str:
    """Write an image (uint8, (C, H, W)) as PNG, not larger than 96 pixels."""
    with needed_for("Images in a report"):
        from PIL import Image

    array = pixels.permute(1, 2, 0).contiguous().numpy()
    picture = Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)
    picture.thumbnail((_LARGEST_IMAGE, _LARGEST_IMAGE))
    stream = io.BytesIO()
    picture.save(stream, format="png")
    return _data("image/png", stream.getvalue())


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
