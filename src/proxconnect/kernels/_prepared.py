"""Multiply by a weight that stays as it is: what does not change is checked once, not at each call."""

from __future__ import annotations

from torch import Tensor

from proxconnect.kernels._epilogues import Affine
from proxconnect.kernels._gateway import native, pointer, run
from proxconnect.kernels._panels import Panels
from proxconnect.kernels._w1a8 import check_inputs, greatest_of, w1a8


class PreparedProduct:
    """The products :func:`w1a8` and :func:`w1a32` with a weight and an epilogue; calling it takes the rows.

    Args:
        weight: as they take it.
        affine: as they take it.
        bits: of a quantized activation, 2 to 8; 32 for activations in float32.

    Raises:
        ProxConnectError: an argument is not as described.

    >>> import torch
    >>> from proxconnect.kernels import pack_signs
    >>> weight = Panels.lay_out(pack_signs(torch.tensor([[1.0, -1.0]])), 2)
    >>> PreparedProduct(weight, Affine.of(torch.ones(1)), bits=8)(torch.tensor([[[12.7, -3.1]]]))
    tensor([[[15.8000]]])
    """

    def __init__(self, weight: Panels, affine: Affine, bits: int) -> None:
        self.k = weight.k
        self.bias_address = pointer(affine.bias)
        self._kept = weight, affine  # the memory at the addresses
        self._bits = bits
        self._outputs = weight.n
        self._weight = weight.arguments(most_planes=2)
        self._groups = affine.groups(weight)
        self._steps = affine.arguments(weight, (), None, grouped=True)
        if bits < 32:
            check_inputs(weight.k)
            self._greatest = greatest_of(bits)

    def __call__(self, x: Tensor) -> Tensor:
        """Compute ``y`` of shape (..., n).

        Args:
            x: (..., k) with k > 0, contiguous, float32 on the CPU. Whoever calls has checked that.
        """
        *rows, k = x.shape
        out = x.new_empty((*rows, self._outputs))  # takes less time than torch.empty
        given = pointer(x), k, x.numel() // k
        if self._bits == 32:
            run(native.w1a32, given, self._weight, self._groups, pointer(out), self._steps)
            return out
        found = pointer(out)
        if run(native.w1a8, given, self._weight, self._groups, self._greatest, found, self._steps):
            return out
        weight, affine = self._kept  # inputs that are not finite
        return w1a8(x.view(-1, k), weight, affine, bits=self._bits).view(out.shape)
