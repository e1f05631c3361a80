"""Shapes of the results of base operators, by formula.

Each function takes an operator's arguments by name. It returns None where an argument is unusual or wrong:
PyTorch then finds the shape, or the error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from torch import Tensor

Arguments: TypeAlias = Mapping[str, Any]
Shape: TypeAlias = Sequence[int] | None


def tensors(values: Iterable[Any]) -> list[Tensor]:
    """List the tensors among values and in lists among them."""
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, tuple | list):
            found += tensors(value)
    return found


def broadcast(arguments: Arguments) -> Shape:
    """Broadcast all tensors."""
    return broadcast_shapes([x.shape for x in tensors(arguments.values())])


def broadcast_shapes(shapes: Sequence[Sequence[int]]) -> tuple[int, ...] | None:
    """Broadcast shapes; torch's function of this name imports sympy.

    >>> broadcast_shapes([(4, 1, 2), (3, 1)]), broadcast_shapes([(3,), (2,)])
    ((4, 3, 2), None)
    """
    shape: list[int] = []
    for dim in range(-max(map(len, shapes)), 0):
        sizes = {s[dim] for s in shapes if len(s) >= -dim} - {1} or {1}
        if len(sizes) > 1:
            return None
        shape += sizes
    return tuple(shape)


def unchanged(arguments: Arguments) -> Shape:
    """Keep the shape of the first tensor."""
    return tensors(arguments.values())[0].shape


def reduced(arguments: Arguments) -> Shape:
    """Leave out ``dim``, or all dimensions; keep their place with ``keepdim``."""
    x, dims = arguments["self"], arguments.get("dim")
    dims = (dims,) if isinstance(dims, int) else dims or range(x.ndim)
    gone = {dim % x.ndim for dim in dims} if x.ndim else set()
    keep = bool(arguments.get("keepdim"))
    return [1 if dim in gone else size for dim, size in enumerate(x.shape) if keep or dim not in gone]


def product(arguments: Arguments) -> Shape:
    """Multiply two matrices, or two batches of them, and add what broadcasts to the product."""
    *added, a, b = tensors(arguments.values())
    if not a.ndim == b.ndim in (2, 3) or a.shape[-1] != b.shape[-2] or a.shape[:-2] != b.shape[:-2]:
        return None
    shape = (*a.shape[:-1], b.shape[-1])
    for x in added:
        ends = zip(reversed(x.shape), reversed(shape), strict=False)
        if x.ndim > len(shape) or not all(size in (1, of) for size, of in ends):
            return None
    return shape if {x.dtype for x in added} | {a.dtype} == {b.dtype} else None


def joined(arguments: Arguments) -> Shape:
    """Join tensors along ``dim``."""
    parts, dim = arguments["tensors"], arguments["dim"]
    first = parts[0].shape
    if not -len(first) <= dim < len(first):
        return None
    dim %= len(first)
    around = {(*part.shape[:dim], *part.shape[dim + 1 :]) for part in parts}
    if len(around) > 1 or any(part.ndim != len(first) for part in parts):
        return None
    return (*first[:dim], sum(part.shape[dim] for part in parts), *first[dim + 1 :])


def stacked(arguments: Arguments) -> Shape:
    """Put tensors of one shape side by side in a new dimension."""
    parts, dim = arguments["tensors"], arguments["dim"]
    shape = list(parts[0].shape)
    if len({part.shape for part in parts}) > 1 or not -len(shape) - 1 <= dim <= len(shape):
        return None
    shape.insert(dim % (len(shape) + 1), len(parts))
    return shape


def indexed(arguments: Arguments) -> Shape:
    """Replace the dimensions that have indices by what the indices broadcast to."""
    x, indices = arguments["self"], list(arguments["indices"])
    places = [dim for dim, index in enumerate(indices) if index is not None]
    found = broadcast({"indices": indices})
    if found is None or len(indices) > x.ndim or any(indices[dim].is_floating_point() for dim in places):
        return None
    start = places[0] if places == list(range(places[0], places[-1] + 1)) else 0
    kept = [size for dim, size in enumerate(x.shape) if dim not in places]
    return (*kept[:start], *found, *kept[start:])


def counted(arguments: Arguments) -> Shape:
    """Count whole numbers from ``start`` to before ``end``."""
    start, end, step = arguments.get("start", 0), arguments["end"], arguments.get("step", 1)
    whole = all(type(number) is int for number in (start, end, step)) and arguments["dtype"] is None
    return (max(0, -(-(end - start) // step)),) if whole and step > 0 <= end - start else None


def resized(arguments: Arguments) -> Shape:
    """Give an image the size ``output_size``."""
    x, sizes = arguments["self"], arguments["output_size"]
    fits = x.ndim == 2 + len(sizes) and min(*x.shape[1:], *sizes) > 0
    return (*x.shape[:2], *sizes) if fits else None


def convolved(arguments: Arguments) -> Shape:
    """Move a kernel over an image, or spread the image in a transposed convolution."""
    x, weight, bias, groups = (arguments[name] for name in ("input", "weight", "bias", "groups"))
    moves = ("stride", "padding", "dilation", "output_padding")
    stride, padding, dilation, more = (_each(arguments[name], x.ndim - 2) for name in moves)
    transposed = arguments["transposed"]
    inputs = weight.shape[0] if transposed else weight.shape[1] * groups
    outputs = weight.shape[1] * groups if transposed else weight.shape[0]
    fits = x.ndim == weight.ndim > 2 and x.shape[1] == inputs and min(*stride, *dilation, groups) > 0
    fits = fits and min(*padding, *more) >= 0 and outputs % groups == inputs % groups == 0
    fits = fits and all(m < max(s, d) for m, s, d in zip(more, stride, dilation, strict=True))
    if not fits or not min(x.shape[1:]) or not min(weight.shape):
        return None
    if bias is not None and tuple(bias.shape) != (outputs,):
        return None
    sizes = []
    for size, kernel, s, p, d, m in zip(
        x.shape[2:], weight.shape[2:], stride, padding, dilation, more, strict=True
    ):
        reach = d * (kernel - 1) + 1
        if not transposed and size + 2 * p < reach:
            return None
        sizes.append((size - 1) * s - 2 * p + reach + m if transposed else (size + 2 * p - reach) // s + 1)
    return (x.shape[0], outputs, *sizes) if min(sizes) > 0 else None


def pooled(arguments: Arguments) -> Shape:
    """Move a window over an image."""
    x, rank = arguments["self"], 2
    kernel = _each(arguments["kernel_size"], rank)
    stride = _each(arguments["stride"], rank) or kernel
    padding, dilation = _each(arguments["padding"], rank), _each(arguments.get("dilation", (1,)), rank)
    fits = x.ndim in (3, 4) and min(*kernel, *stride, *dilation) > 0
    if not fits or min(padding) < 0 or any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
        return None
    if arguments.get("divisor_override") == 0 or not min(x.shape[-3:]):
        return None
    sizes = []
    for size, k, s, p, d in zip(x.shape[-2:], kernel, stride, padding, dilation, strict=True):
        room = size + 2 * p - d * (k - 1) - 1
        steps = -(-room // s) if arguments["ceil_mode"] else room // s
        # The last window has to begin inside of the image or of the padding before it.
        sizes.append(steps + (not (arguments["ceil_mode"] and steps * s >= size + p)))
    return (*x.shape[:-2], *sizes) if min(sizes) > 0 else None


def _each(moves: Sequence[int], rank: int) -> Sequence[int]:
    return tuple(moves) * rank if len(moves) == 1 else tuple(moves)
