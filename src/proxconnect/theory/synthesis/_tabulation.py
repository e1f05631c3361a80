"""Tabulate a backward quantizer and its integral for floats, as the cells of ``csrc/interface/maps.h``."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from proxconnect.errors import ProxConnectError
from proxconnect.kernels import TABLE_ROOT_SHIFT, TABLE_SPLIT_BITS
from proxconnect.theory._arrays import Array, Integers
from proxconnect.theory.criterion.ends import settled
from proxconnect.theory.sampling.probe import Probe

TOLERANCE = 2.0**-20
_MOST_SPLIT = 2**13  # cells of one width; B that needs more bends nearly everywhere
_PARTS = 2**TABLE_SPLIT_BITS
_BLOCK = 8
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(4)
_FIT = np.linalg.inv(np.vander(_NODES, increasing=True)).T
# The integral from -1 of b0 + b1 t + b2 t^2 + b3 t^3; t^4 becomes t^2 - 1/8, which is within 1/8 of it.
_INTEGRATE = np.array(
    [
        [1, 1, 0, 0],
        [-1 / 2, 0, 1 / 2, 0],
        [1 / 3, 0, 0, 1 / 3],
        [-1 / 4 - 1 / 32, 0, 1 / 4, 0],
    ]
)
_INFINITY = 255 << (23 - TABLE_ROOT_SHIFT)  # the number of its root cell
_FAR = np.array([1e38, 1e25, 1e15, 1e10])


class Tabulation(NamedTuple):
    """Cells of ``B`` and of ``int_0^w B``: float32 of shape (n, 4).

    Where it was looked at, a cubic of ``B`` is off by at most ``TOLERANCE / (4 |w|)`` times the integral of
    ``|B|`` over the latents up to ``16 |w|`` on both sides. ``ends`` are the limits of the integral far out.
    """

    slopes: Tensor
    integrals: Tensor
    ends: tuple[float, float]


class _Level(NamedTuple):
    """Cells of one width, their cubics and integrals, and which of them are split."""

    number: Integers
    cubics: Array
    width: Array
    integral: Array
    split: Integers


def tabulate(probe: Probe, looks: Array) -> Tabulation:
    """Tabulate ``B`` and its integral.

    Args:
        probe: ``B`` at one sharpness.
        looks: latents at which cubics have to meet ``B`` besides at their ends.
    """
    with np.errstate(all="ignore"):
        levels = _levels(probe, looks)
        for level, below in reversed(list(pairwise(levels))):
            level.integral[level.split] = below.integral.reshape(-1, _PARTS).sum(axis=1)
        starts = _starts(levels)
        slopes = [level.cubics for level in levels]
        integrals = [
            _integrated(level, start, shift)
            for level, start, shift in zip(levels, starts, _shifts(levels), strict=True)
        ]
        side = len(starts[0]) // 2
        at = _number(_FAR) >> TABLE_ROOT_SHIFT
        ends = settled((-starts[0][side + at]).tolist()), settled(starts[0][at].tolist())
        last = [side - 1, 2 * side - 1]
        slope = levels[0].cubics[last].sum(axis=1)
        whole = (starts[0] + levels[0].integral)[last] * (1, -1)
        return Tabulation(_cells(levels, slopes, slope), _cells(levels, integrals, whole), ends)


def _shifts(levels: list[_Level]) -> list[int]:
    return [TABLE_ROOT_SHIFT - k * TABLE_SPLIT_BITS for k in range(len(levels))]


def _levels(probe: Probe, looks: Array) -> list[_Level]:
    """Fit a cubic to ``B`` in each root cell, and in the parts of those cells that need more than one."""
    tolerance = max(TOLERANCE, 4 * probe.epsilon) / 4
    looked, values = _number(looks), probe.unguarded(looks)
    number, shift = _root_numbers(), TABLE_ROOT_SHIFT
    found = _found_at_roots(probe, number)
    scale = _scale(number, found)
    levels: list[_Level] = []
    while len(number):
        low, width = _ends(number, shift)
        cubics = found[:, 1:5] @ _FIT
        allowed = tolerance * scale[number >> (23 - shift) & 255] / low
        ends = cubics @ np.array([[1, 1], [-1, 1], [1, 1], [-1, 1]])
        wrong = ~(np.abs(ends - found[:, [0, 5]]) <= allowed[:, None]).all(axis=1)
        cell = np.searchsorted(number, looked >> shift).clip(max=len(number) - 1)
        here = number[cell] == looked >> shift
        looks, looked, values, cell = looks[here], looked[here], values[here], cell[here]
        t = 2 * (np.abs(looks) - low[cell]) / width[cell] - 1
        b = cubics[cell].T
        near = ((b[3] * t + b[2]) * t + b[1]) * t + b[0]
        wrong[cell[~(np.abs(near - values) <= allowed[cell])]] = True
        whole = np.full(len(number), shift == 0) | ~np.isfinite(found).any(axis=1)
        cubics[whole] = found[whole, :1] * (np.arange(4) == 0)
        split = np.flatnonzero(wrong & ~whole).astype(np.int64)
        if len(split) > _MOST_SPLIT:
            raise ProxConnectError(
                f"backward bends in more than {_MOST_SPLIT} places at mu = {probe.mu:g} and cannot be "
                "tabulated; expected a function that is smooth but for isolated jumps and kinks"
            )
        levels.append(_Level(number, cubics, width, _finite(found[:, 1:5] @ _WEIGHTS * width / 2), split))
        number = (number[split][:, None] << TABLE_SPLIT_BITS | np.arange(_PARTS)).ravel()
        shift -= TABLE_SPLIT_BITS
        if len(number):
            found = _found(probe, number, shift)
    return levels


def _found(probe: Probe, number: Integers, shift: int) -> Array:
    """Evaluate ``B`` at the lower end of each cell, at four nodes and just below the upper end."""
    low, width = _ends(number, shift)
    nodes = low[:, None] + width[:, None] * (_NODES + 1) / 2
    at = np.concatenate([low[:, None], nodes, np.nextafter(low + width, 0)[:, None]], axis=1)
    found: Array = probe.unguarded((_signs(number << shift)[:, None] * at).ravel()).reshape(at.shape)
    return found


def _found_at_roots(probe: Probe, number: Integers) -> Array:
    """Evaluate as :func:`_found` does, but once for eight cells beside each other where ``B`` is constant."""
    blocks = _found(probe, number[::_BLOCK] // _BLOCK, TABLE_ROOT_SHIFT + 3)
    found = np.repeat(blocks, _BLOCK, axis=0)
    bends = np.repeat(~(np.ptp(blocks, axis=1) <= 2.0**-40 * np.abs(blocks[:, 0])), _BLOCK)
    found[bends] = _found(probe, number[bends], TABLE_ROOT_SHIFT)
    return found


def _ends(number: Integers, shift: int) -> tuple[Array, Array]:
    """Return the magnitudes at which cells begin, and their widths."""
    low = _floats(number << shift)
    return low, _floats((number + 1) << shift) - low


def _finite(x: Array) -> Array:
    finite: Array = np.nan_to_num(x, nan=0.0, posinf=0.0, neginf=0.0)
    return finite


def _scale(number: Integers, found: Array) -> Array:
    """Return, for each exponent, the integral of ``|B|`` from 0 to sixteen times the numbers that have it."""
    _, width = _ends(number, TABLE_ROOT_SHIFT)
    sizes = _finite(np.abs(found[:, 1:5]) @ _WEIGHTS * width / 2)
    exponent = number >> (23 - TABLE_ROOT_SHIFT) & 255
    total = np.cumsum(np.bincount(exponent, sizes, minlength=256).astype(np.float64))
    scale: Array = total[np.minimum(np.arange(256) + 4, 254)]
    return scale


def _starts(levels: list[_Level]) -> list[Array]:
    """Return the integral of ``B`` over the latents between 0 and each cell."""
    halves = levels[0].integral.reshape(2, -1)
    starts = [(np.cumsum(halves, axis=1) - halves).ravel()]
    for level, below in pairwise(levels):
        parts = below.integral.reshape(-1, _PARTS)
        starts.append((starts[-1][level.split][:, None] + np.cumsum(parts, axis=1) - parts).ravel())
    return starts


def _integrated(level: _Level, start: Array, shift: int) -> Array:
    cubics = _finite(level.cubics) @ _INTEGRATE * (level.width[:, None] / 2 if shift else 0.0)
    cubics[:, 0] += start
    signed: Array = cubics * _signs(level.number << shift)[:, None]
    return signed


def _cells(levels: list[_Level], cubics: list[Array], at_infinity: Array) -> Tensor:
    roots = 2 ** (32 - TABLE_ROOT_SHIFT)
    cells = np.zeros((roots + sum(len(level.number) for level in levels[1:]), 4), np.float32)
    cells[:roots, 0] = np.nan  # of NaN itself
    begin, size = 0, roots
    halves = 0.5 ** -np.arange(4)  # cubics above are of t from -1 to 1, cells are of half of it
    for level, those in zip(levels, cubics, strict=True):
        found = (those * halves).astype(np.float32)
        beyond = ~np.isfinite(found).all(axis=1)
        found[beyond, 1:] = 0
        found[beyond, 0] = np.where(np.isnan(those[beyond, 0]), np.nan, np.copysign(np.inf, those[beyond, 0]))
        begin, size = begin + size, _PARTS * len(level.split)  # of the cells of the next level
        found[level.split, 0] = np.nan
        found.view(np.int32)[level.split, 1] = begin + _PARTS * np.arange(len(level.split))
        found[level.split, 2:] = 0
        at = level.number if level is levels[0] else begin - len(level.number) + np.arange(len(level.number))
        cells[at] = found
    return torch.from_numpy(np.concatenate([cells, *_infinities(cells, at_infinity)]))


def _infinities(cells: NDArray[np.float32], values: Array) -> Iterator[NDArray[np.float32]]:
    """Split the cells that hold an infinity and NaN, until the infinity has a cell of its own."""
    first = len(cells)
    for sign, value in enumerate(values):
        parent = cells[_INFINITY + (sign << (31 - TABLE_ROOT_SHIFT)), :2]
        for _ in range(TABLE_ROOT_SHIFT // TABLE_SPLIT_BITS):
            parent.view(np.int32)[1] = first
            parts = np.zeros((_PARTS, 4), np.float32)
            parts[:, 0] = np.nan
            yield parts
            parent, first = parts[0, :2], first + _PARTS
        parent[0] = value


def _root_numbers() -> Integers:
    number = np.arange(2 ** (32 - TABLE_ROOT_SHIFT), dtype=np.int64)
    finite: Integers = number[number >> (23 - TABLE_ROOT_SHIFT) & 255 != 255]
    return finite


def _floats(bits: Integers) -> Array:
    """Return the magnitudes of floats, given as bits; that of infinity is ``2^128``."""
    found = (bits & 0x7FFFFFFF).astype(np.uint32).view(np.float32).astype(np.float64)
    return np.where(np.isinf(found), 2.0**128, found)


def _signs(bits: Integers) -> Array:
    return np.where(bits >> 31, -1.0, 1.0)


def _number(w: Array) -> Integers:
    """Return the bits of the floats of the same sign that are next to ``w`` towards 0."""
    size = np.abs(w)
    near = size.astype(np.float32)
    near = np.where(near > size, np.nextafter(near, np.float32(0)), near)
    return near.view(np.uint32).astype(np.int64) | np.where(w < 0, 2**31, 0).astype(np.int64)
