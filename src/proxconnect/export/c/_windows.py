"""The geometry of convolutions and pools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def pair(sizes: Any, missing: int = 1) -> tuple[int, int]:
    """Return sizes for height and width; what has one dimension has height 1.

    >>> pair((3,)), pair(2), pair((3, 5))
    ((1, 3), (2, 2), (3, 5))
    """
    if isinstance(sizes, int):
        return sizes, sizes
    height, width = (missing, *sizes)[-2:]
    return height, width


def window(
    shape: Sequence[int],
    result: Sequence[int],
    kernel: tuple[int, int],
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> str:
    """Write the ``Window`` of an operator from images ``(1, C, H, W)`` or rows ``(1, C, W)``."""
    flat = len(shape) == 3
    height, width = (1, *shape[2:])[-2:]
    out_height, out_width = (1, *result[2:])[-2:]
    moves = [_move(stride, 1, flat), _move(padding, 0, flat), _move(dilation, 1, flat)]
    sizes = shape[1], height, width, result[1], out_height, out_width, *kernel
    return "{" + ", ".join(map(str, (*sizes, *(n for move in moves for n in move), groups))) + "}"


def _move(sizes: Any, missing: int, flat: bool) -> tuple[int, int]:
    if flat and isinstance(sizes, int):
        return missing, sizes
    if not isinstance(sizes, int) and len(sizes) == 1 and not flat:
        sizes = sizes[0]
    return pair(sizes, missing)
