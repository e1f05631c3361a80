"""The scales of a weight: its latents are divided by one, its levels are multiplied by the other.

A weight whose elements are levels times scales already keeps these scales to the bit: projecting it again
changes nothing, for all levels, dtypes and ways to share scales.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from proxconnect.base.rows import Rows
from proxconnect.kernels import mean_magnitudes
from proxconnect.quantizers import projector

BINARY: tuple[float, ...] = (-1, 1)


def scale_shape(rows: Rows, scale: str | int | None) -> tuple[int, ...]:
    """Return the shape of the scales of ``BinarizeConfig(scale=...)``."""
    return rows.scale_shapes[-1 if scale in ("tensor", None) else 0]


def mean_scale(weight: Tensor, rows: Rows, shape: Sequence[int]) -> Tensor:
    """Compute the mean of ``|w|`` for each scale; it is exactly ``c`` if all elements are ``-c`` and ``c``.

    Args:
        weight: a tensor of the shape of ``rows``.
        rows: the elements that share a scale.
        shape: one of the ``scale_shapes`` of ``rows``.
    """
    if rows.group is None:
        means = mean_magnitudes(rows.turned(weight))
        if len(means) == shape[0]:
            return means
        low, high = means.aminmax(dim=0, keepdim=True)
        return torch.where(low == high, low, means.mean(dim=0, keepdim=True))
    magnitudes = weight.abs()
    inputs = math.prod(rows.row_shape[1:])
    starts = torch.arange(0, inputs, rows.group, dtype=torch.int64, device=weight.device)
    sizes = (inputs - starts).clamp(max=rows.group)  # the last group may be smaller
    means = rows.summed(magnitudes, shape) / sizes
    first = rows.members(magnitudes, shape)[..., 0]
    unlike = rows.summed((magnitudes != rows.spread(first)).to(means.dtype), shape)
    return torch.where(unlike == 0, first, means)


def least_squares_scale(
    latent: Tensor, spread: Tensor, levels: tuple[float, ...], rows: Rows, shape: Sequence[int]
) -> Tensor:
    """Compute ``alpha = <w*, q> / <q, q>`` of the nearest levels ``q = P_Q(w*/s)``; it is not negative.

    ``alpha`` is the argmin of ``|w* - alpha q|^2``. It is computed as ``s + <w* - s q, q> / <q, q>``, which
    is exactly ``s`` where the latents are their levels times ``s``, and where all levels are 0.

    Args:
        latent: ``w*``.
        spread: ``s``, which broadcasts against ``w*``.
        levels: the set ``Q``.
        rows: the elements that share a scale.
        shape: one of the ``scale_shapes`` of ``rows``.
    """
    s = rows.members(spread.expand(rows.shape), shape)[..., 0].reshape(tuple(shape))
    nearest = projector(levels)(latent / spread, 1.0)
    wide = torch.promote_types(latent.dtype, torch.float32)  # sums of squares exceed float16
    misfit = (latent - spread * nearest).to(wide)
    nearest = nearest.to(wide)
    size = rows.summed(nearest.square(), shape)
    correction = rows.summed(misfit * nearest, shape) / size.where(size > 0, 1)
    return (s + correction.to(s.dtype)).clamp(min=0)


def exact_scale(
    weight: Tensor, levels: tuple[float, ...], rows: Rows, shape: Sequence[int], stored: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Find the scales ``c`` of a weight whose elements are levels times scales already.

    Args:
        weight: a tensor of the shape of ``rows``.
        levels: the set ``Q``.
        rows: the elements that share a scale.
        shape: one of the ``scale_shapes`` of ``rows``.
        stored: if several scales are possible, one is taken that this dtype holds.

    Returns:
        ``c``, of ``shape``, and as many booleans, which are True where ``w`` equals ``c P_Q(w/c)`` bit for
        bit. ``c`` is meaningless where the boolean is False; it is 0 where all elements are 0.

    >>> ternary = torch.tensor([[0.25, 0.0, -0.25], [0.5, 0.0, -0.25]])
    >>> exact_scale(ternary, (-1, 0, 1), Rows((2, 3)), (2, 1), torch.float16)
    (tensor([[0.2500],
            [0.5000]]), tensor([[ True],
            [False]]))
    """
    largest = rows.members(weight.abs(), shape).amax(dim=-1).reshape(tuple(shape))
    scale, exact = largest, torch.zeros_like(largest, dtype=torch.bool)
    for candidate in _candidates(largest, levels, stored):
        fits = ~exact & _reproduces(weight, candidate, levels, rows)
        scale, exact = torch.where(fits, candidate, scale), exact | fits
        if exact.all():
            break
    return scale, exact


def _candidates(largest: Tensor, levels: tuple[float, ...], stored: torch.dtype) -> Iterator[Tensor]:
    """List the possible scales: the largest magnitude is the magnitude of a level times the scale."""
    sizes = sorted({abs(level) for level in levels if level})
    for size in sizes:
        yield (largest / size).to(stored).to(largest.dtype)
    for size in sizes:
        yield largest / size
        if math.frexp(size)[0] != 0.5:  # the quotient of a rounded product may lie beside the factor
            yield from (_neighbour(largest / size, step) for step in (1, -1))


def is_level_times(weight: Tensor, scale: Tensor, levels: tuple[float, ...], rows: Rows) -> bool:
    """Tell whether ``w`` equals ``c P_Q(w/c)`` everywhere, bit for bit except for the signs of zeros."""
    return bool(_reproduces(weight, scale.to(weight.dtype), levels, rows).all())


def _reproduces(weight: Tensor, scale: Tensor, levels: tuple[float, ...], rows: Rows) -> Tensor:
    spread = rows.spread(scale)
    unlike = spread * projector(levels)(weight / spread.where(spread > 0, 1), 1.0) != weight
    return rows.summed(unlike.to(torch.float32), scale.shape) == 0


def _neighbour(values: Tensor, step: int) -> Tensor:
    """Return the next float above or below each positive value: floats are ordered as their bits are."""
    integer = {2: torch.int16, 4: torch.int32, 8: torch.int64}[values.element_size()]
    return (values.contiguous().view(integer) + step).clamp(min=0).view(values.dtype)
