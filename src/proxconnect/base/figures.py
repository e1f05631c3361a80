"""Figures without pyplot and its global state, written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from proxconnect.base.files import written_whole
from proxconnect.base.optional import needed_for
from proxconnect.errors import ProxConnectError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LINE_STYLES = ("-", "--", ":", "-.")


@contextmanager
def figure_to(path: Path, size: tuple[float, float], *, fitted: bool = True) -> Iterator[Figure]:
    """Yield a figure of ``size`` inches, and write it to ``path``, whose ending chooses the format.

    Args:
        path: the file of the figure.
        size: width and height in inches.
        fitted: the room around the panels is fitted to their labels, which takes longer than to draw them.

    Raises:
        ProxConnectError: the format is unknown.
        MissingPackageError: matplotlib is not installed.
    """
    with needed_for("Drawing a figure", "plots"):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained" if fitted else None)
    known = FigureCanvasAgg(figure).get_supported_filetypes()
    kind = path.suffix.removeprefix(".")
    if kind not in known:
        raise ProxConnectError(f"cannot draw to {path}: unknown ending, expected {', '.join(known)}")
    yield figure
    with written_whole(path) as temporary:
        save_figure(figure, temporary, kind)


def save_figure(figure: Figure, target: Path | IO[bytes], kind: str) -> None:
    """Save a figure in the format ``kind``. Equal figures give equal bytes."""
    from matplotlib import rc_context

    # An SVG gets no date, and names its parts by their content.
    metadata = {"Date": None} if kind == "svg" else None
    with rc_context({"svg.hashsalt": "proxconnect"}):
        figure.savefig(target, format=kind, dpi=150, metadata=metadata)


def line_look(place: int) -> dict[str, str]:
    """Return the colour and the style of the line at a place; the first forty differ.

    >>> line_look(0), line_look(11)
    ({'color': 'C0', 'linestyle': '-'}, {'color': 'C1', 'linestyle': '--'})
    """
    return {"color": f"C{place % 10}", "linestyle": _LINE_STYLES[place // 10 % len(_LINE_STYLES)]}


def apart(heights: Sequence[float], distance: float) -> list[float]:
    """Move heights up or down until no two are nearer than ``distance``, so that labels there do not overlap.

    The order of the heights stays. Crowded ones spread evenly about the middle of their crowd.

    >>> apart([0.5, 0.5, 0.0], 0.2)
    [0.4, 0.6, 0.0]
    """
    order = sorted(range(len(heights)), key=heights.__getitem__)
    crowds: list[tuple[float, int]] = []  # the middle of each crowd, and how many are in it
    for index in order:
        middle, count = heights[index], 1
        while crowds and middle - crowds[-1][0] < distance * (count + crowds[-1][1]) / 2:
            other, others = crowds.pop()
            middle, count = (middle * count + other * others) / (count + others), count + others
        crowds.append((middle, count))
    placed = [
        middle + distance * (place - (count - 1) / 2) for middle, count in crowds for place in range(count)
    ]
    return [placed[order.index(index)] for index in range(len(heights))]
