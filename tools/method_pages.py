"""Write the method reference, ``docs/methods``: a page and a figure for every method of the catalogue.

python tools/method_pages.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import proxconnect as pc
from proxconnect.base.table import Table
from proxconnect.quantizers import CATALOGUE, slope_of
from proxconnect.theory.criterion.overview import backward_in_words, in_words, overview
from proxconnect.theory.figures.plots import draw_pair

FOLDER = Path(__file__).parents[1] / "docs" / "methods"
# ReSTE's mu is an exponent, from 1 (straight-through) to 3.
SHARPNESSES = {"reste": (1.0, 2.0, 3.0), "reste+": (1.0, 2.0, 3.0)}


def page(name: str) -> str:
    """Write the page of one method, in Markdown."""
    pair, entry = pc.method(name), CATALOGUE[name]
    verdict = pc.check(pair)
    lines = [
        f"# `{name}`",
        "",
        entry.use,
        "",
        f"- **Forward** `F`: {pair.forward.name}, `{pair.forward.formula}`",
        f"- **Backward** `B`: {describe_backward(pair)}",
        f"- **Verdict** at mu = 1: {in_words(verdict)}",
        f"- **Source**: {entry.source}",
    ]
    if pair.forward.argmin:
        lines.append(f"- **As a proximal map**, F minimises over z: `{pair.forward.argmin}`")
    if entry.parameters:
        defaults = ", ".join(f"`{key}={value!r}`" for key, value in entry.parameters.items())
        lines.append(f"- **Parameters** and their defaults: {defaults}")
    repaired = pc.repair(pair)
    if repaired is not pair:
        lines.append(
            f"- **Repaired** by keeping B and integrating it: [`{repaired.name}`]({repaired.name}.md)"
        )
    lines += ["", f"![F, B, P, T and r of {name}]({name}.png)", "", "```text", str(verdict), "```", ""]
    return "\n".join(lines)


def describe_backward(pair: pc.ForwardBackward) -> str:
    """Describe the backward quantizer in words."""
    own = pair.backward == slope_of(pair.forward)
    return backward_in_words(pair) + (" (its own slope)" if own else "")


def index() -> str:
    """Write the page with the table of all methods."""
    lines = [
        "# Methods",
        "",
        "`tools/method_pages.py` makes these pages from the catalogue. [Theory](../theory.md) defines the",
        "verdicts, and [maps](../maps/README.md) describes each quantizer by itself. In the figures, thin",
        "lines join the sides of a jump. `r` is thin in the gaps of F's range, where it may be anything up",
        "to infinity.",
        "",
    ]
    rows = (
        (f"[`{row.name}`]({row.name}.md)", row.forward, row.backward, row.verdict, row.source)
        for row in overview()
    )
    table = Table(("method", "forward", "backward", "verdict at mu = 1", "source"), rows)
    return "\n".join([*lines, table.markdown(), ""])


def pages() -> dict[str, str]:
    """Write all pages, by file name."""
    return {"README.md": index(), **{f"{name}.md": page(name) for name in CATALOGUE}}


def main() -> None:
    """Write the pages and figures."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text)
    for name in CATALOGUE:
        draw_pair(pc.method(name), FOLDER / f"{name}.png", SHARPNESSES.get(name, (1.0, 3.0, 9.0)))


if __name__ == "__main__":
    sys.exit(main())
