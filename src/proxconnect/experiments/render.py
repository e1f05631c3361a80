"""Writing of the pages and figures of a grid's results to a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from proxconnect.base.files import make_folder, written_whole
from proxconnect.experiments.figures import FIGURES
from proxconnect.experiments.findings import with_rendered_parts
from proxconnect.experiments.tables import page


def render(results: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write ``<grid>.md`` with its figures, and the rendered parts of ``findings.md``, to ``folder``.

    A grid without a finished cell gets no page.

    Returns:
        The files that were written.

    Raises:
        TrainingError: ``findings.md`` has the marks of a part that does not exist.
    """
    make_folder(folder)
    written = []
    if any(cell["status"] == "done" for cell in results["cells"].values()):
        written.append(folder / f"{results['grid']}.md")
        with written_whole(written[-1]) as file:
            file.write_text(page(results), encoding="utf-8")
    for name, figure in FIGURES.items():
        if figure.can_be_drawn(results):
            written.append(folder / f"{results['grid']}-{name}.png")
            figure.draw(results, written[-1])
    findings = folder / "findings.md"
    if findings.is_file():
        text = with_rendered_parts(findings.read_text(encoding="utf-8"), folder / "data")
        with written_whole(findings) as file:
            file.write_text(text, encoding="utf-8")
        written.append(findings)
    return written
