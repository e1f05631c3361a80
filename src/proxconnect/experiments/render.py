"""Writing of the pages and figures of a grid's results to a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from proxconnect.base.files import make_folder, written_whole
from proxconnect.experiments.downloads import TABLES_FOLDER, table_files
from proxconnect.experiments.figures import FIGURES, file_of
from proxconnect.experiments.findings import has_rendered_parts, with_rendered_parts
from proxconnect.experiments.page import page


def render(results: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write ``<grid>.md`` with its figures to ``folder``, and the rendered parts of the other pages there.

    The tables are files in ``folder/tables/<grid>`` too, as CSV and LaTeX. Files of tables that are gone are
    removed.

    A grid without a finished cell gets no page.

    Returns:
        The files that were written.

    Raises:
        TrainingError: a page has the marks of a part that does not exist.
    """
    make_folder(folder)
    written = []
    if any(cell["status"] == "done" for cell in results["cells"].values()):
        written.append(folder / f"{results['grid']}.md")
        with written_whole(written[-1]) as file:
            file.write_text(page(results), encoding="utf-8")
        written += _write_tables(results, folder / TABLES_FOLDER / str(results["grid"]))
    for name, figure in FIGURES.items():
        if figure.can_be_drawn(results):
            written.append(folder / file_of(results, name))
            figure.draw(results, written[-1])
    for by_hand in sorted(folder.glob("*.md")):
        text = by_hand.read_text(encoding="utf-8")
        if has_rendered_parts(text):
            with written_whole(by_hand) as file:
                file.write_text(with_rendered_parts(text, folder / "data"), encoding="utf-8")
            written.append(by_hand)
    return written


def _write_tables(results: Mapping[str, Any], folder: Path) -> list[Path]:
    make_folder(folder)
    files = table_files(results)
    for old in (path for ending in ("csv", "tex") for path in folder.glob(f"*.{ending}")):
        if old.name not in files:
            old.unlink()
    for name, text in files.items():
        with written_whole(folder / name) as file:
            file.write_text(text, encoding="utf-8")
    return [folder / name for name in files]
