"""Write the reference of the maps, ``docs/maps``: a page with a section and a figure for each map.

python tools/map_page.py
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import proxconnect as pc
from proxconnect import quantizers as q
from proxconnect.theory.figures.plots import draw_maps

FOLDER = Path(__file__).parents[1] / "docs" / "maps"
Rows = dict[str, q.ElementwiseMap]


@dataclass(frozen=True)
class Section:
    """A section of the page: a map, with a row of the figure for each quantization set or parameter."""

    title: str
    code: str
    rows: Rows
    sharpnesses: tuple[float, float, float] = (1.0, 3.0, 9.0)

    @property
    def picture(self) -> str:
        return self.title.lower().replace(" ", "-") + ".png"


def on_both_sets(make: Callable[..., q.ElementwiseMap]) -> Rows:
    """Make the map for two and for three levels."""
    return {"on {-1, 1}": make((-1, 1)), "on {-1, 0, 1}": make((-1, 0, 1))}


SECTIONS = (
    Section("identity", "identity", {"": q.identity}),
    Section("projector", "projector(levels)", on_both_sets(q.projector)),
    Section(
        "linear quantizer",
        "linear_quantizer(levels, rho, varrho)",
        {**on_both_sets(q.linear_quantizer), "with varrho = 0.5": q.linear_quantizer(varrho=0.5)},
        (1.0, 2.0, 8.0),
    ),
    Section("hard tanh", "hard_tanh", {"": q.hard_tanh}),
    Section("tanh", "tanh", {"": q.tanh}, (0.3, 1.0, 3.0)),
    Section("polynomial", "polynomial", {"": q.polynomial}),
    Section("sign-swish", "sign_swish", {"": q.sign_swish}),
    Section("monotone sign-swish", "monotone_sign_swish", {"": q.monotone_sign_swish}),
    Section("W-shaped prox", "w_shaped(levels)", on_both_sets(q.w_shaped), (0.2, 0.4, 1.0)),
    Section("binary relax", "binary_relax(levels)", on_both_sets(q.binary_relax), (0.3, 1.0, 9.0)),
    Section("PARQ", "parq(levels)", on_both_sets(q.parq), (1.0, 2.0, 8.0)),
    Section("ReSTE", "reste(m, t)", {"": q.reste()}, (1.0, 2.0, 3.0)),
    Section("soft threshold", "soft_threshold", {"": q.soft_threshold}, (0.2, 0.4, 1.0)),
)

INTRODUCTION = """# Maps

`tools/map_page.py` makes this page from what the maps of `proxconnect.quantizers` declare. Each map is a
quantizer, forward or, by its slope, backward. [Theory](../theory.md) says which pairs of them are proximal
methods, and [methods](../methods/README.md) lists the pairs.

- `w` is the latent weight in normalised units, and `mu` the sharpness.
- `Q` is the quantization set, any finite sorted set of levels. `P_Q(w)` is the level nearest to `w`;
  ties go up.
- `q_lo` and `q_hi` are the levels on either side of `w`, and `c` is the point half-way between them.
- `S` is the soft threshold.
- `L(rho, varrho)` has ramps of width `rho` in the middle of the gaps between levels. Pieces that rise by
  `varrho` join the ramps.
- Limits in `mu` hold at every `w` where the limit is continuous.

The figures show three functions: the map `P`, the convex potential `R` (`P` inverts its derivative), and the
implicit regulariser `r = R - z^2/2`, of which `P` is the proximal map. A gap of the range of `P` has a thin
line. There `R` may be anything from that line to `+inf`. Beyond the range `R` is infinite.
"""


def section(shown: Section) -> str:
    """Write the section of one map, in Markdown."""
    first = next(iter(shown.rows.values()))
    lines = [
        f"## {shown.title}",
        "",
        f"![P, R and r of {shown.title}]({shown.picture})",
        "",
        f"- **In Python**: `proxconnect.quantizers.{shown.code}`",
        *stated("**Value**", {label: f"`{map_.formula}`" for label, map_ in shown.rows.items()}),
        *stated("**Minimises** over z", {label: argmin(map_) for label, map_ in shown.rows.items()}),
        *stated("**Limits** in mu", {label: limits(map_) for label, map_ in shown.rows.items()}),
        *stated(
            f"**Shape** at mu = {shown.sharpnesses[1]:g}",
            {label: shape(map_.pieces(shown.sharpnesses[1])) for label, map_ in shown.rows.items()},
        ),
        f"- **Source**: {first.source}",
    ]
    used = [
        f"[`{name}`](../methods/{name}.md)"
        for name in pc.methods()
        if pc.method(name).forward in shown.rows.values()
    ]
    if used:
        lines.append(f"- **Forward quantizer of**: {', '.join(used)}")
    return "\n".join([*lines, ""])


def stated(title: str, by_row: dict[str, str]) -> list[str]:
    """Write one line for all rows if their texts are equal, else one line for each row."""
    if len(set(by_row.values())) == 1:
        return [f"- {title}: {next(iter(by_row.values()))}"]
    return [f"- {title} {label}: {text}" for label, text in by_row.items()]


def argmin(map_: q.ElementwiseMap) -> str:
    """Write the function that the map minimises."""
    return f"`{map_.argmin}`" if map_.argmin else "nothing: it is not monotone"


def limits(map_: q.ElementwiseMap) -> str:
    """Write the limits of the map at both ends of the range of mu."""
    if not map_.limits:
        return "mu is ignored"
    low, high = map_.limits
    return f"`{low}` as mu goes to 0, `{high}` as it grows"


def shape(pieces: tuple[q.Piece, ...]) -> str:
    """Describe the intervals on which a map is flat, rises and falls, and its jumps."""
    words = [f"{piece.trend} on ({number(piece.start)}, {number(piece.end)})" for piece in pieces]
    jumps = [number(a.end) for a, b in pairwise(pieces) if a.end_value != b.start_value]
    return ", ".join(words) + (f"; jumps at {', '.join(jumps)}" if jumps else "")


def number(value: float) -> str:
    return str(value) if math.isinf(value) else f"{value:.5g}"


def page() -> str:
    """Write the whole page."""
    return "\n".join([INTRODUCTION, *map(section, SECTIONS)])


def main() -> None:
    """Write the page and its figures."""
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "README.md").write_text(page())
    for shown in SECTIONS:
        draw_maps(shown.rows, FOLDER / shown.picture, shown.sharpnesses)


if __name__ == "__main__":
    sys.exit(main())
