"""Multiply by a weight that stays as it is: what does not change is checked once, not at each call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from proxconnect.errors import ProxConnectError
from proxconnect.format.bits import packed_width
from proxconnect.kernels._chains import Chain, Outputs
from proxconnect.kernels._conv_panels import ConvPanels
from proxconnect.kernels._epilogues import Affine, Thresholds
from proxconnect.kernels._gateway import native, pointer, run
from proxconnect.kernels._geometry import Geometry
from proxconnect.kernels._images import output_rows
from proxconnect.kernels._panels import Panels
from proxconnect.kernels._w1a8 import check_inputs, greatest_of

_MOST_REMEMBERED = 64
_EPILOGUES = {Affine: "affine", Thresholds: "signs", Chain: "chain"}


class _Sizes(NamedTuple):
    """The sizes of a call: the output's before the n outputs, and those that a residual has."""

    rows: tuple[int, ...]
    residual: tuple[int, ...]


class PreparedCall:
    """A product, or with ``geometry`` a convolution, of activations and a weight, and then an epilogue.

    It computes what :func:`w1a1_affine`, :func:`w1a8`, :func:`w1a32_conv` and the others do.

    Args:
        bits: of an activation: 1; 2 to 8 for activations that are quantized, of images to 8; 32 for float32.
        weight: as these functions take it.
        epilogue: as they take it; activations of more than one bit have an :class:`Affine`.
        geometry: of a convolution.
        wrap: keep 8 bits of sums of signs.

    Raises:
        ProxConnectError: an argument is not as described.

    >>> from proxconnect.kernels import pack_signs
    >>> weight = Panels.lay_out(pack_signs(torch.tensor([[1.0, -1.0]])), 2)
    >>> PreparedCall(8, weight, Affine.of(torch.ones(1)))(torch.tensor([[[12.7, -3.1]]]))
    tensor([[[15.8000]]])
    """

    def __init__(
        self,
        bits: int,
        weight: Panels | ConvPanels,
        epilogue: Affine | Thresholds | Chain,
        geometry: Geometry | None = None,
        *,
        wrap: bool = False,
    ) -> None:
        self._kept = weight, epilogue, geometry  # the memory at the addresses
        self.k, self._n = weight.k, weight.n
        self._function = _function(bits, weight, epilogue)
        self._sizes: dict[tuple[int, ...], _Sizes | None] = {}
        self._bits, self._images = bits, geometry is not None
        # Kernels of floats read pixels wherever they lie.
        self._format = torch.channels_last if self._images and bits > 1 else torch.contiguous_format
        self._anywhere = self._images and bits == 32
        self._fixed: tuple[Any, ...]
        if isinstance(weight, ConvPanels):
            assert geometry is not None
            self._fixed = weight.arguments(), geometry.arguments
        else:
            self._fixed = (weight.arguments(most_planes=1 if bits == 1 else 2),)
        if bits == 1:
            self._fixed += (wrap,)
        elif isinstance(weight, Panels) and isinstance(epilogue, Affine):
            self._fixed += (epilogue.groups(weight),)
            self._fixed += (greatest_of(bits),) if bits < 32 else ()
        if 1 < bits < 32:
            check_inputs(weight.k)
        if isinstance(epilogue, Affine):
            _, *self._steps = epilogue.arguments(weight, (), None, grouped=bits > 1 and not self._images)
            self.bias_address = pointer(epilogue.bias)
        elif isinstance(epilogue, Thresholds):
            self._steps = list(epilogue.arguments(weight))
        else:
            self._steps = list(epilogue.constant_arguments(weight.n))

    def __call__(self, x: Tensor, residual: Tensor | None = None) -> Tensor | Outputs | None:
        """Compute the output; None where the functions have more to do: move data, refuse it, or meet a NaN.

        Args:
            x: float32 (..., k) or, for a convolution, (N, C, H, W); of one bit, uint8 as they are packed.
            residual: float32 of the output's shape; that of a convolution is (N, n, Ho, Wo).

        Whoever calls has checked that both lie in memory on the CPU, have these dtypes, and are not empty.

        Returns:
            What the functions return, but (..., n) for activations of more than two dimensions.
        """
        shape = x.shape
        sizes = self._sizes[shape] if shape in self._sizes else self._measured(shape)
        if sizes is None or not (self._anywhere or x.is_contiguous(memory_format=self._format)):
            return None
        epilogue, added = self._kept[1], 0
        if residual is not None:
            memory_format = torch.channels_last if self._images else torch.contiguous_format
            if residual.shape != sizes.residual or not residual.is_contiguous(memory_format=memory_format):
                return None
            added = residual.data_ptr()
        given: tuple[Any, ...]
        if not self._images:
            given = x.data_ptr(), shape[-1], x.numel() // shape[-1]
        elif self._bits == 1:
            given = (x.data_ptr(), *shape[:3])
        else:
            given = x.data_ptr(), shape, x.stride()
        if isinstance(epilogue, Chain):
            if epilogue.adds != (residual is not None):
                return None
            outputs = epilogue.outputs(sizes.rows)
            floats, signs = (0 if y is None else y.data_ptr() for y in outputs)
            run(self._function, given, *self._fixed, (floats, signs, *self._steps, added))
            return outputs
        if isinstance(epilogue, Thresholds):
            out = x.new_empty((*sizes.rows, packed_width(self._n)))
            run(self._function, given, *self._fixed, out.data_ptr(), tuple(self._steps))
            return out
        out = x.new_empty((*sizes.rows, self._n), dtype=torch.float32)
        finite = run(self._function, given, *self._fixed, out.data_ptr(), (added, *self._steps))
        return None if finite is False else out

    def _measured(self, shape: tuple[int, ...]) -> _Sizes | None:
        """Find the sizes of a call for activations of this shape, and remember them; None if it is wrong."""
        weight, _, geometry = self._kept
        sizes = None
        if isinstance(weight, ConvPanels):
            assert geometry is not None
            pixels = len(shape) == 4 and shape[3] == packed_width(weight.channels)
            if pixels if self._bits == 1 else len(shape) == 4 and shape[1] == weight.channels:
                size = (shape[1], shape[2]) if self._bits == 1 else (shape[2], shape[3])
                rows = output_rows(shape[0], size, weight, geometry)
                sizes = _Sizes(rows, (rows[0], weight.n, *rows[1:]))
        elif shape[-1:] == (packed_width(weight.k) if self._bits == 1 else weight.k,):
            sizes = _Sizes(shape[:-1], (*shape[:-1], weight.n))
        if len(self._sizes) >= _MOST_REMEMBERED:
            self._sizes.clear()
        self._sizes[shape] = sizes
        return sizes


def _function(
    bits: int, weight: Panels | ConvPanels, epilogue: Affine | Thresholds | Chain
) -> Callable[..., Any]:
    """Return the compiled function of a product or convolution with this epilogue."""
    conv = "_conv" if isinstance(weight, ConvPanels) else ""
    if bits == 1:
        function: Callable[..., Any] = getattr(native, f"w1a1{conv}_{_EPILOGUES[type(epilogue)]}")
        return function
    if not isinstance(epilogue, Affine) or (conv and 8 != bits != 32):
        raise ProxConnectError(
            f"no kernel computes {bits}-bit activations of {type(weight).__name__} with {epilogue}"
        )
    function = getattr(native, f"w1a{32 if bits == 32 else 8}{conv}")
    return function
