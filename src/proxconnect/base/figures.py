"""Figures without pyplot and its global state, written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from proxconnect.base.files import written_whole
from proxconnect.base.optional import needed_for
from proxconnect.errors import ProxConnectError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@contextmanager
def figure_to(path: Path, size: tuple[float, float]) -> Iterator[Figure]:
    """Yield a figure of ``size`` inches, and write it to ``path``, whose ending chooses the format.

    Raises:
        ProxConnectError: the format is unknown.
        MissingPackageError: matplotlib is not installed.
    """
    with needed_for("Drawing a figure", "plots"):
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    known = FigureCanvasAgg(figure).get_supported_filetypes()
    kind = path.suffix.removeprefix(".")
    if kind not in known:
        raise ProxConnectError(f"cannot draw to {path}: unknown ending, expected {', '.join(known)}")
    yield figure
    # Equal figures are equal files: an SVG has no date, and names its parts by their content.
    metadata = {"Date": None} if kind == "svg" else None
    with written_whole(path) as temporary, rc_context({"svg.hashsalt": "proxconnect"}):
        figure.savefig(temporary, format=kind, dpi=150, metadata=metadata)
