"""Draw text, bars, boxes and arrows as SVG that can be read on light and on dark pages.

Colours are names in the style sheet that every picture carries. The sheet has a second set for readers whose
system asks for dark pages. A picture has its own background, so it is legible where page and system disagree.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

LIGHT = {
    "page": "#ffffff",
    "frame": "#d1d9e0",
    "text": "#1f2328",
    "faint": "#59636e",
    "grey": "#a3adb8",
    "blue": "#5e8fc9",
    "orange": "#c8501a",
    "box": "#f3f5f8",
}
DARK = {
    "page": "#0d1117",
    "frame": "#3d444d",
    "text": "#e6edf3",
    "faint": "#a0a9b4",
    "grey": "#6e7781",
    "blue": "#5e8fc9",
    "orange": "#ea7a45",
    "box": "#1a212b",
}
FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"
MONOSPACE = "ui-monospace, 'SF Mono', Menlo, 'DejaVu Sans Mono', monospace"


def picture(width: int, height: int, about: str, parts: Iterable[str]) -> str:
    """Return a whole SVG file; ``about`` is read to those who do not see it."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" role="img" aria-label="{escape(about)}">',
            f"<style>text {{ font-family: {FONT}; }} .code {{ font-family: {MONOSPACE}; }}",
            *_colours(LIGHT),
            "@media (prefers-color-scheme: dark) {",
            *_colours(DARK),
            "}</style>",
            f'<rect class="page frame-line" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" '
            'rx="8"/>',
            *parts,
            "</svg>\n",
        ]
    )


def _colours(table: dict[str, str]) -> list[str]:
    fills = [f".{name} {{ fill: {colour}; }}" for name, colour in table.items()]
    return [*fills, *(f".{name}-line {{ stroke: {colour}; }}" for name, colour in table.items())]


def text(
    x: float,
    y: float,
    words: str,
    size: float = 13,
    colour: str = "text",
    anchor: str = "start",
    style: str = "",
) -> str:
    """Return a line of text that stands on ``y``; ``style`` is ``"bold"``, ``"code"`` or empty."""
    weight = ' font-weight="600"' if style == "bold" else ""
    kind = f"{colour} code" if style == "code" else colour
    return (
        f'<text class="{kind}" x="{x:g}" y="{y:g}" font-size="{size:g}" text-anchor="{anchor}"{weight}>'
        f"{escape(words)}</text>"
    )


def bar(x: float, y: float, width: float, height: float, colour: str) -> str:
    """Return a filled rectangle without a line around it."""
    return (
        f'<rect class="{colour}" x="{x:g}" y="{y:g}" width="{max(width, 1):.1f}" height="{height:g}" rx="2"/>'
    )


def box(x: float, y: float, width: float, height: float, line: str = "frame") -> str:
    """Return a filled rectangle with a line around it."""
    return (
        f'<rect class="box {line}-line" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6" '
        'stroke-width="1.2"/>'
    )


def arrow(x: float, y: float, to_x: float, to_y: float, colour: str = "faint") -> str:
    """Return a horizontal or vertical arrow."""
    if y == to_y:
        ahead = 6 if to_x > x else -6
        head = f"{to_x:g},{to_y:g} {to_x - ahead:g},{to_y - 4:g} {to_x - ahead:g},{to_y + 4:g}"
    else:
        ahead = 6 if to_y > y else -6
        head = f"{to_x:g},{to_y:g} {to_x - 4:g},{to_y - ahead:g} {to_x + 4:g},{to_y - ahead:g}"
    return (
        f'<line class="{colour}-line" x1="{x:g}" y1="{y:g}" x2="{to_x:g}" y2="{to_y:g}" stroke-width="1.4"/>'
        f'<polygon class="{colour}" points="{head}"/>'
    )
