"""A weight that stays packed and is unpacked for as long as an operator needs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from proxconnect.errors import ProxConnectError, unknown_name
from proxconnect.format import unpack_bits

KERNELS = ("fast", "reference")


class PackedWeight(nn.Module):
    """Bits and scales of one weight; calling it gives ``+scale`` where a bit is set and ``-scale`` elsewhere.

    ``bits`` stay ``uint8`` and ``scale`` keeps its dtype whatever the module is moved to: ``.to(dtype)`` only
    chooses the dtype of the weights that come out, ``.to(device)`` moves everything.

    Args:
        bits: uint8 of shape (rows, bytes of a row), as :func:`proxconnect.format.pack_bits` makes them.
        scale: floating point, broadcasts against the weight.
        shape: the weight's shape, output channels first.
        kernels: ``"fast"`` unpacks with compiled code, ``"reference"`` in torch; the weights are the same.

    Raises:
        ProxConnectError: unknown ``kernels``.

    >>> bits, scale = torch.tensor([[5]], dtype=torch.uint8), torch.tensor([[0.5]], dtype=torch.float16)
    >>> PackedWeight(bits, scale, (1, 4), kernels="reference")()
    tensor([[ 0.5000, -0.5000,  0.5000, -0.5000]])
    """

    bits: Tensor
    scale: Tensor

    def __init__(self, bits: Tensor, scale: Tensor, shape: Sequence[int], kernels: str = "fast") -> None:
        super().__init__()
        check_kernels(kernels)
        self.shape = tuple(shape)
        self.kernels = kernels
        self.dtype = torch.float32
        self.register_buffer("bits", bits)
        self.register_buffer("scale", scale)

    def forward(self) -> Tensor:
        """The unpacked weight; nothing keeps it."""
        if self.kernels == "fast" and self.bits.device.type == "cpu":
            from proxconnect.engine.kernels import unpack_weights

            weight = unpack_weights(self.bits, self.scale, self.shape)
        else:
            positive = unpack_bits(self.bits, self.shape).to(self.bits.device)
            scale = self.scale.to(torch.float32)
            weight = torch.where(positive, scale, -scale)
        return weight.to(self.dtype)

    def extra_repr(self) -> str:
        """Shape and kernels, for ``print(model)``."""
        return f"{tuple(self.shape)}, 1 bit, kernels={self.kernels!r}"

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        scale = self.scale
        self.dtype = fn(torch.empty(0, dtype=self.dtype, device=self.bits.device)).dtype
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.scale = scale.to(self.bits.device)
        return self


def check_kernels(kernels: str) -> None:
    """Raise :class:`ProxConnectError` unless ``kernels`` is one of :data:`KERNELS`."""
    if kernels not in KERNELS:
        raise ProxConnectError(unknown_name("kernels", kernels, KERNELS))
