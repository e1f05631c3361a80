"""Pages and figures of a grid's results, written to the folder of the results."""

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

    Returns:
        The files written: no page of a grid of which nothing is done.

    Raises:
        TrainingError: ``findings.md`` asks for a part that does not exist.
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
