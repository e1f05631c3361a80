"""Maps that have a compiled form, which does in one pass what takes torch several.

Compiled are the catalogue's maps with levels -1 and 1, for dense float32 tensors on the CPU. All else, and
all that a compiler, a mode or a function transform has to see, is computed by the maps themselves. The two
are equal for sign, hard tanh, PARQ, binary relax and the polynomial; values and slopes of the others, and
means of magnitudes, agree within a few units in the last place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from proxconnect import _native
from proxconnect.base.eager import differentiated_forwards, pointer, watched
from proxconnect.kernels._sets import apply_environment
from proxconnect.quantizers import (
    ForwardBackward,
    binary_relax,
    hard_tanh,
    identity,
    linear_quantizer,
    monotone_sign_swish,
    parq,
    polynomial,
    reste,
    sign,
    sign_swish,
    tanh,
)
from proxconnect.quantizers.maps import Elementwise, ElementwiseMap, Sharpness, Slope


class Compiled(NamedTuple):
    """The compiled form of a map: its ``MapKind`` in ``csrc/interface/maps.h``, and constants of it.

    ``w`` and ``g`` are tensors as :func:`dense` takes them; ``s`` and ``alpha`` hold one number for all or
    one for each index of ``w`` in dimension 0, and 1 where they are None.
    """

    kind: int
    a: float = 0.0
    b: float = 0.0

    def value(self, w: Tensor, mu: Sharpness) -> Tensor:
        """``F(w)``."""
        out = torch.empty_like(w)
        apply_environment()
        _native.quantize(_latents(w), self._map(mu), pointer(out), 0, torch.get_num_threads())
        return out

    def weight(
        self, w: Tensor, mu: Sharpness, s: Tensor, alpha: Tensor | None, with_codes: bool
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """``alpha F(w / s)``, ``F(w / s)`` if asked for, and ``alpha``: if None, the means of ``|w|``."""
        out, codes = torch.empty_like(w), torch.empty_like(w) if with_codes else None
        addresses = pointer(out), 0 if codes is None else pointer(codes)
        apply_environment()
        if alpha is None and w.numel() < _LARGE:
            alpha = mean_magnitudes(w)
        if alpha is not None:
            _native.quantize(_latents(w, s, alpha), self._map(mu), *addresses, torch.get_num_threads())
        else:
            alpha = torch.empty_like(s)
            by_means = _latents(w, s), self._map(mu), pointer(alpha)
            _native.quantize_by_means(*by_means, *addresses, torch.get_num_threads())
        return out, codes, alpha

    def gradient(
        self, w: Tensor, mu: Sharpness, g: Tensor, s: Tensor | None = None, alpha: Tensor | None = None
    ) -> Tensor:
        """``B(w / s) g (alpha / s)``, with ``B`` the map's slope."""
        out, g = torch.empty_like(w), laid_out(g, w.stride())
        addresses = pointer(g), pointer(out)
        apply_environment()
        _native.scale_gradient(_latents(w, s, alpha), self._map(mu), *addresses, torch.get_num_threads())
        return out

    def marked_value(self, x: Tensor, mu: Sharpness, ramp: Compiled) -> tuple[Tensor, Tensor]:
        """``F(x)``, and a bit for each element: whether the slope of ``ramp`` is not 0."""
        out = torch.empty_like(x)
        inside = torch.empty(-(-x.numel() // 16), dtype=torch.int16, device="cpu")
        addresses = pointer(out), pointer(inside)
        height = ramp.height(mu)
        apply_environment()
        _native.quantize_and_mark(
            pointer(x), x.numel(), self._map(mu), height, *addresses, torch.get_num_threads()
        )
        return out, inside

    @property
    def is_ramp(self) -> bool:
        """Whether the map is ``clip(h w, -1, 1)``, with ``h`` its :meth:`height`."""
        return self.kind == _RAMP

    def height(self, mu: Sharpness) -> float:
        """The slope of a ramp where it is not 0."""
        return max(float(mu), self.a)

    def _map(self, mu: Sharpness) -> tuple[int, float, float, float]:
        return self.kind, float(mu), self.a, self.b


def marked_gradient(inside: Tensor, height: float, g: Tensor) -> Tensor:
    """``height g`` where the bit is set, else 0; ``g`` lies in memory as what was marked."""
    out = torch.empty_like(g)
    addresses = pointer(g), pointer(out)
    apply_environment()
    _native.scale_marked(pointer(inside), g.numel(), height, *addresses, torch.get_num_threads())
    return out


def marked(inside: Tensor, shape: Sequence[int], stride: Sequence[int]) -> Tensor:
    """The same bits as booleans of a dense tensor's shape and stride, in torch."""
    places = torch.arange(16, dtype=torch.int16, device=inside.device)
    bits = (inside.unsqueeze(1) >> places) & 1
    return bits.flatten().as_strided(shape, stride) != 0


_RAMP = 2
_LARGE = 2**15  # elements from which on the temporary tensor of torch's mean of magnitudes costs more
_COMPILED: dict[Elementwise, Compiled] = {
    identity: Compiled(0),
    sign: Compiled(1),
    hard_tanh: Compiled(_RAMP),
    parq(): Compiled(_RAMP),
    linear_quantizer(): Compiled(_RAMP, 1.0),  # no less steep than at mu = 1
    binary_relax(): Compiled(3),
    polynomial: Compiled(4),
    tanh: Compiled(5),
    sign_swish: Compiled(6),
    monotone_sign_swish: Compiled(7),
    reste(): Compiled(8, 0.1, 1.5),
}


class CompiledPair(NamedTuple):
    """A pair, with the compiled forms of ``F`` and of the map whose slope ``B`` is, where they have one."""

    pair: ForwardBackward
    value: Compiled | None
    slope: Compiled | None


def compiled_pair(pair: ForwardBackward) -> CompiledPair:
    """The pair with the compiled forms of its maps."""
    slope = pair.backward.map if isinstance(pair.backward, Slope) else None
    return CompiledPair(pair, _compiled(pair.forward), _compiled(slope))


def _compiled(map: Elementwise | None) -> Compiled | None:
    return _COMPILED.get(map) if isinstance(map, ElementwiseMap) else None


def dense(*tensors: Tensor) -> bool:
    """Whether compiled code takes these tensors: float32, on the CPU, without gaps, dimension 0 outermost."""
    if watched(*tensors) or differentiated_forwards():
        return False
    for each in tensors:
        if not each.is_cpu or each.dtype != torch.float32:
            return False
        if not each.is_contiguous() and not _channels_last(each):
            return False
    return True


def mean_magnitudes(rows: Tensor) -> Tensor:
    """The mean of ``|rows|`` over all dimensions but the first; these stay, of size 1.

    Where all magnitudes of a row are equal, their mean is exactly that.
    """
    dims = tuple(range(1, rows.ndim))
    if not dense(rows):
        magnitudes = rows.abs()
        mean, low = magnitudes.mean(dim=dims, keepdim=True), magnitudes.amin(dim=dims, keepdim=True)
        return torch.where(low == magnitudes.amax(dim=dims, keepdim=True), low, mean)
    columns = rows.numel() // len(rows)
    if rows.numel() < _LARGE:
        mean = rows.abs().mean(dim=dims, keepdim=True)
        _native.settle_means(pointer(rows), len(rows), columns, pointer(mean))
        return mean
    mean = rows.new_empty(len(rows), *(1,) * (rows.ndim - 1))
    apply_environment()
    _native.mean_magnitudes(pointer(rows), len(rows), columns, pointer(mean), torch.get_num_threads())
    return mean


def laid_out(g: Tensor, stride: tuple[int, ...]) -> Tensor:
    """``g`` with this stride, copied where it has another."""
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
