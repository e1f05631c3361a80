"""Weights laid out for the kernels."""

from __future__ import annotations

import torch
from torch import Tensor

from proxconnect import _native
from proxconnect.base.eager import pointer
from proxconnect.kernels._address import sign_rows

PANEL_WIDTH = 16
WORD_BITS = 32


class Panels:
    """A matrix of signs, laid out once so that every kernel reads it from front to back.

    Sixteen rows make a panel, in which their 32-bit words alternate: bit ``i`` of ``words[p, w, j]`` is the
    sign of row ``16 p + j`` at element ``32 w + i``. What is left over is zero.

    Args:
        bits: uint8 of shape (n, packed_width(k)) on the CPU, each row contiguous, padding bits zero.
        k: signs in a row.

    Attributes:
        n: rows, the outputs of a layer.
        k: signs in a row, the inputs of a layer.
        words: int32 of shape (panels, words of a row, 16).

    Raises:
        ProxConnectError: an argument is not as described.

    >>> Panels(torch.tensor([[5], [3]], dtype=torch.uint8), 4).words[0, 0, :3]
    tensor([5, 3, 0], dtype=torch.int32)
    """

    def __init__(self, bits: Tensor, k: int) -> None:
        rows = sign_rows(bits, "bits", k)
        self.n, self.k = bits.shape[0], k
        panels, words = -(-self.n // PANEL_WIDTH), -(-k // WORD_BITS)
        self.words = torch.empty(panels, words, PANEL_WIDTH, dtype=torch.int32, device="cpu")
        _native.make_panels(rows, k, pointer(self.words))

    def arguments(self) -> tuple[int, int, int]:
        """What compiled code takes for this weight."""
        return pointer(self.words), self.n, self.k

    def __repr__(self) -> str:
        return f"Panels(n={self.n}, k={self.k})"
