"""Hold the weights of linear layers as the kernels read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from proxconnect.kernels._checks import address_of_shape, sign_rows
from proxconnect.kernels._gateway import native, pointer

PANEL_WIDTH = native.PANEL_WIDTH
WORD_BITS = native.WORD_BITS


@dataclass(eq=False)
class Panels:
    """A matrix of signs, laid out once so that every kernel reads it from front to back.

    Sixteen rows make a panel, in which their 32-bit words alternate: bit ``i`` of ``words[p, w, j]`` is the
    sign of row ``16 p + j`` at element ``32 w + i``. All other bits are zero.

    Make one by :meth:`lay_out` or :meth:`over`, which check their arguments.

    Attributes:
        words: int32 of shape (panels, words of a row, 16).
        n: rows, the outputs of a layer.
        k: signs in a row, the inputs of a layer.
    """

    words: Tensor
    n: int
    k: int

    @classmethod
    def lay_out(cls, bits: Tensor, k: int) -> Self:
        """Lay out rows of ``k`` packed signs.

        Args:
            bits: uint8 of shape (n, packed_width(k)) on the CPU, each row contiguous, padding bits zero.
            k: signs in a row.

        Raises:
            ProxConnectError: an argument is not as described.

        >>> Panels.lay_out(torch.tensor([[5], [3]], dtype=torch.uint8), 4).words[0, 0, :3]
        tensor([5, 3, 0], dtype=torch.int32)
        """
        rows, n = sign_rows(bits, "bits", k), bits.shape[0]
        words = torch.empty(_shape_of_words(n, k), dtype=torch.int32, device="cpu")
        native.make_panels(rows, k, pointer(words))
        return cls(words, n, k)

    @classmethod
    def over(cls, words: Tensor, n: int, k: int) -> Self:
        """Take words that are laid out already, without a copy.

        Raises:
            ProxConnectError: ``words`` are not those of ``n`` rows of ``k`` signs.
        """
        address_of_shape(words, "words", torch.int32, _shape_of_words(n, k))
        return cls(words, n, k)

    def arguments(self) -> tuple[int, int, int]:
        """Return what compiled code takes for this weight."""
        return pointer(self.words), self.n, self.k

    def __repr__(self) -> str:
        return f"Panels(n={self.n}, k={self.k})"


def _shape_of_words(n: int, k: int) -> tuple[int, int, int]:
    return -(-n // PANEL_WIDTH), -(-k // WORD_BITS), PANEL_WIDTH
