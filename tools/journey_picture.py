"""Draw the way from a latent weight to an answer, with the folder that holds each step.

python tools/journey_picture.py

Writes ``docs/pictures/journey.svg``.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from svg import arrow, box, picture, text

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "pictures" / "journey.svg"
WIDTH, HEIGHT, GAP, MARGIN = 186, 116, 28, 24


class Step(NamedTuple):
    """A box: what there is at this step, in two lines what happens to it, and the folders that do it."""

    title: str
    lines: tuple[str, str]
    folders: tuple[str, ...]


TRAINING = (
    Step("Latent weight", ("w*, a float that", "the optimizer moves"), ("layers",)),
    Step("Pair", ("w = alpha F(w*/s)", "gradient times B(w*/s)"), ("quantizers", "theory")),
    Step("Binarized layer", ("computes with w,", "binarize_ makes it"), ("layers",)),
    Step("Training", ("any loop; mu grows,", "F closes onto sign"), ("optim", "trainer")),
)
RUNNING = (
    Step("Hardened layer", ("w is exactly", "+alpha or -alpha"), ("layers",)),
    Step("Packed file", ("bits, scales and the", "network's graph"), ("format", "graph", "packing")),
    Step("Engine", ("the graph, fused, on", "compiled kernels"), ("engine", "kernels", "csrc")),
    Step("Answer", ("the hardened model's,", "without its code"), ("zoo", "cli")),
)


def draw() -> str:
    """Return the picture."""
    width = 2 * MARGIN + 4 * WIDTH + 3 * GAP
    parts = []
    second = 52 + HEIGHT + 62
    for top, title, steps in ((52, "In training", TRAINING), (second, "In use", RUNNING)):
        parts.append(text(MARGIN, top - 16, title, 14, "faint", style="bold"))
        for number, step in enumerate(steps):
            x = MARGIN + number * (WIDTH + GAP)
            parts += drawn(step, x, top)
            if number:
                parts.append(arrow(x - GAP + 3, top + HEIGHT / 2, x - 3, top + HEIGHT / 2))
    # From the end of the first line to the start of the second.
    right, left = MARGIN + 3 * (WIDTH + GAP) + WIDTH / 2, MARGIN + WIDTH / 2
    middle = 52 + HEIGHT + 22
    parts += [
        f'<polyline class="faint-line" points="{right:g},{52 + HEIGHT + 3} {right:g},{middle} '
        f'{left:g},{middle}" fill="none" stroke-width="1.4"/>',
        arrow(left, middle, left, second - 3),
        text((left + right) / 2, middle - 6, "harden_", 12, "faint", "middle", style="code"),
    ]
    about = (
        "Latent weight, pair, binarized layer, training; then hardened layer, packed file, engine, answer."
    )
    return picture(width, second + HEIGHT + 24, about, parts)


def drawn(step: Step, x: float, y: float) -> list[str]:
    """Return the parts of one box."""
    middle = x + WIDTH / 2
    folders = " ".join(f"{name}/" for name in step.folders)
    return [
        box(x, y, WIDTH, HEIGHT),
        text(middle, y + 27, step.title, 15, anchor="middle", style="bold"),
        *(text(middle, y + 51 + 18 * n, line, 12.5, anchor="middle") for n, line in enumerate(step.lines)),
        text(middle, y + HEIGHT - 15, folders, 11.5, "orange", "middle", style="code"),
    ]


if __name__ == "__main__":
    PICTURE.write_text(draw())
