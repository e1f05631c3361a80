"""Compute the elementwise maps of training in compiled code, in one pass over memory each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from proxconnect.base.eager import differentiated_forwards, watched
from proxconnect.kernels._gateway import native, pointer, run

MapKind = native.MapKind
TABLE_ROOT_SHIFT = native.TABLE_ROOT_SHIFT
TABLE_SPLIT_BITS = native.TABLE_SPLIT_BITS
_Map = tuple[MapKind, float, float, float, int]
LARGE = 2**15  # elements from which on the temporary tensor of torch's mean of magnitudes costs more


@dataclass(frozen=True)
class CompiledMap:
    """The compiled form of a map ``F``, and its constants.

    Tensors ``w`` and ``g`` are as :func:`fits_compiled_code` wants them; ``s`` and ``alpha`` hold one number
    for all or one for each index of ``w`` in dimension 0, and stand for 1 where they are None.
    """

    kind: MapKind
    a: float = 0.0
    b: float = 0.0

    def value(self, w: Tensor, mu: float) -> Tensor:
        """Compute ``F(w)``."""
        out = torch.empty_like(w)
        map, _kept = self.at(mu)
        run(native.quantize, _latents(w), map, pointer(out), 0)
        return out

    def weight(
        self, w: Tensor, mu: float, s: Tensor, alpha: Tensor | None, with_codes: bool
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Compute ``alpha F(w / s)``, ``F(w / s)`` if asked for, and ``alpha``.

        Where ``alpha`` is None, the means of ``|w|`` are taken for it.
        """
        out, codes = torch.empty_like(w), torch.empty_like(w) if with_codes else None
        addresses = pointer(out), 0 if codes is None else pointer(codes)
        map, _kept = self.at(mu)
        if alpha is None and w.numel() < LARGE:
            alpha = mean_magnitudes(w)
        if alpha is not None:
            run(native.quantize, _latents(w, s, alpha), map, *addresses)
        else:
            alpha = torch.empty_like(s)
            run(native.quantize_by_means, _latents(w, s), map, pointer(alpha), *addresses)
        return out, codes, alpha

    def gradient(
        self, w: Tensor, mu: float, g: Tensor, s: Tensor | None = None, alpha: Tensor | None = None
    ) -> Tensor:
        """Compute ``B(w / s) g (alpha / s)``, with ``B`` the map's slope."""
        out, g = torch.empty_like(w), with_stride(g, w.stride())
        map, _kept = self.at(mu)
        run(native.scale_gradient, _latents(w, s, alpha), map, pointer(g), pointer(out))
        return out

    def marked_value(self, x: Tensor, mu: float, ramp: CompiledMap) -> tuple[Tensor, Tensor]:
        """Compute ``F(x)``, and a bit for each element that is set where the slope of ``ramp`` is not 0."""
        out = torch.empty_like(x)
        marks = torch.empty(-(-x.numel() // 16), dtype=torch.int16, device="cpu")
        sizes = pointer(x), x.numel()
        map, _kept = self.at(mu)
        run(native.quantize_and_mark, *sizes, map, ramp.height(mu), pointer(out), pointer(marks))
        return out, marks

    @property
    def is_ramp(self) -> bool:
        """Tell whether the map is ``clip(h w, -1, 1)``, with ``h`` its :meth:`height`."""
        return self.kind == MapKind.ramp

    def height(self, mu: float) -> float:
        """Return the slope of a ramp where it is not 0."""
        return max(float(mu), self.a)

    def at(self, mu: float) -> tuple[_Map, Tensor | None]:
        """Return the map as compiled code takes it, and a tensor to keep until that has run."""
        return (self.kind, float(mu), self.a, self.b, 0), None


class TabulatedFunction(NamedTuple):
    """The function ``a T(s w) + b``, with ``T`` the function of a table's cells.

    Args:
        cells: float32 of shape (n, 4), contiguous, laid out as ``FloatTable`` of ``csrc/interface/maps.h``.
        inner: ``s``.
        factor: ``a``.
        shift: ``b``.
    """

    cells: Tensor
    inner: float
    factor: float
    shift: float


@dataclass(frozen=True)
class TabulatedMap(CompiledMap):
    """The compiled form of a function that has a table: its values as ``F``, and as ``B`` too."""

    kind: MapKind = MapKind.table
    table: Callable[[float], TabulatedFunction] = field(kw_only=True)

    def at(self, mu: float) -> tuple[_Map, Tensor | None]:
        """Return the map as compiled code takes it, and the cells, to keep until that has run."""
        table = self.table(float(mu))
        address = pointer(table.cells)
        return (self.kind, table.inner, table.factor, table.shift, address), table.cells


def marked_gradient(marks: Tensor, height: float, g: Tensor) -> Tensor:
    """Compute ``height g`` where the bit is set, else 0; ``g`` lies in memory as the marked tensor did."""
    out = torch.empty_like(g)
    run(native.scale_marked, pointer(marks), g.numel(), height, pointer(g), pointer(out))
    return out


def unpacked_marks(marks: Tensor, shape: Sequence[int], stride: Sequence[int]) -> Tensor:
    """Turn such bits into booleans of a dense tensor's shape and stride, in torch."""
    places = torch.arange(16, dtype=torch.int16, device=marks.device)
    bits = (marks.unsqueeze(1) >> places) & 1
    return bits.flatten().as_strided(shape, stride) != 0


def mean_magnitudes(rows: Tensor) -> Tensor:
    """Return the mean of ``abs(rows)`` over all dimensions but the first; these stay, of size 1.

    Where all magnitudes of a row are equal, their mean is exactly that.
    """
    dims = tuple(range(1, rows.ndim))
    if not fits_compiled_code(rows):
        magnitudes = rows.abs()
        mean, low = magnitudes.mean(dim=dims, keepdim=True), magnitudes.amin(dim=dims, keepdim=True)
        return torch.where(low == magnitudes.amax(dim=dims, keepdim=True), low, mean)
    sizes = len(rows), rows.numel() // len(rows)
    if rows.numel() < LARGE:
        mean = rows.abs().mean(dim=dims, keepdim=True)
        native.settle_means(pointer(rows), *sizes, pointer(mean))
        return mean
    mean = rows.new_empty(len(rows), *(1,) * (rows.ndim - 1))
    run(native.mean_magnitudes, pointer(rows), *sizes, pointer(mean))
    return mean


def scale_channels_(y: Tensor, scale: Tensor, bias: Tensor | None) -> None:
    """Compute ``y * scale + bias`` in place, rounded at each step.

    Args:
        y: float32 of shape (..., n), contiguous.
        scale: float32 of n elements.
        bias: float32 of n elements; nothing is added where absent.
    """
    n = y.shape[-1]
    shift = 0 if bias is None else pointer(bias)
    run(native.scale_outputs, pointer(y), y.numel() // max(n, 1), n, pointer(scale), shift)


def fits_compiled_code(*tensors: Tensor) -> bool:
    """Tell whether compiled maps take these tensors: float32, on the CPU, no gaps, dimension 0 outermost."""
    if watched(*tensors) or differentiated_forwards():
        return False
    for tensor in tensors:
        if not tensor.is_cpu or tensor.dtype != torch.float32:
            return False
        if not tensor.is_contiguous() and not _channels_last(tensor):
            return False
    return True


def with_stride(g: Tensor, stride: tuple[int, ...]) -> Tensor:
    """Return ``g`` with this stride, copied where it has another."""
    return g if g.stride() == stride else g.new_empty_strided(g.shape, stride).copy_(g)


def _channels_last(x: Tensor) -> bool:
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    return x.ndim in formats and x.is_contiguous(memory_format=formats[x.ndim])


def _latents(
    w: Tensor, s: Tensor | None = None, alpha: Tensor | None = None
) -> tuple[int, int, int, int, int, int]:
    rows = len(w) if w.ndim and w.numel() else 1
    one_for_all = s is None or s.numel() == 1
    scales = [0 if scale is None else pointer(scale) for scale in (s, alpha)]
    return pointer(w), rows, w.numel() // rows, scales[0], scales[1], 0 if one_for_all else 1
