"""Nested loops of C over arrays with strides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Strides = Sequence[int]


def contiguous(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the strides of an array whose elements lie in order.

    >>> contiguous((2, 3, 4))
    (12, 4, 1)
    """
    strides = [1]
    for size in reversed(shape[1:]):
        strides.append(strides[-1] * size)
    return tuple(reversed(strides[: len(shape)]))


def loops(shape: Sequence[int], arrays: Mapping[str, tuple[Strides, int]], body: str) -> list[str]:
    """Write loops over all indices of ``shape`` around one statement.

    Args:
        shape: the number of steps of each loop.
        arrays: by name, the strides of an array along the loops and its first element.
        body: the statement, in which ``{name}`` stands for the element of an array.

    >>> for line in loops((2, 3), {"y": ((3, 1), 0), "x": ((1, 2), 4)}, "{y} = {x};"):
    ...     print(line)
    for (int i0 = 0; i0 < 2; ++i0) {
        for (int i1 = 0; i1 < 3; ++i1) {
            y[3 * i0 + i1] = x[i0 + 2 * i1 + 4];
        }
    }
    """
    sizes, strides = _merged(shape, [strides for strides, _ in arrays.values()])
    elements = {
        name: f"{name}[{_index([of_loop[place] for of_loop in strides], first)}]"
        for place, (name, (_, first)) in enumerate(arrays.items())
    }
    lines = ["    " * len(sizes) + body.format(**elements)]
    for depth in reversed(range(len(sizes))):
        start = "    " * depth
        head = f"{start}for (int i{depth} = 0; i{depth} < {sizes[depth]}; ++i{depth}) {{"
        lines = [head, *lines, f"{start}}}"]
    return lines


def _merged(shape: Sequence[int], arrays: Sequence[Strides]) -> tuple[list[int], list[list[int]]]:
    """Drop loops of one step, and join neighbouring loops that all arrays pass through as one."""
    sizes: list[int] = []
    strides: list[list[int]] = []
    for dimension, size in enumerate(shape):
        here = [array[dimension] for array in arrays]
        if size == 1:
            continue
        if sizes and all(outer == size * inner for outer, inner in zip(strides[-1], here, strict=True)):
            sizes[-1], strides[-1] = sizes[-1] * size, here
        else:
            sizes.append(size)
            strides.append(here)
    return sizes, strides


def _index(strides: Sequence[int], first: int) -> str:
    terms = [
        f"i{depth}" if stride == 1 else f"{stride} * i{depth}"
        for depth, stride in enumerate(strides)
        if stride
    ]
    if first or not terms:
        terms.append(str(first))
    return " + ".join(terms)
