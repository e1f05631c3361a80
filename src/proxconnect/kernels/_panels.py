"""Hold the weights of linear layers as the kernels read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from proxconnect.base.memory import weight_memory
from proxconnect.errors import ProxConnectError
from proxconnect.format.bits import packed_width
from proxconnect.kernels._checks import address_of_shape, sign_rows
from proxconnect.kernels._gateway import native, pointer

PANEL_WIDTH = native.PANEL_WIDTH
WORD_BITS = native.WORD_BITS


@dataclass(eq=False)
class Panels:
    """A matrix of weights, laid out once so that every kernel reads it from front to back.

    Sixteen rows make a panel, in which their 32-bit words alternate: bit ``i`` of ``words[p, w, j]`` is the
    sign of row ``16 p + j`` at element ``32 w + i``. All other bits are zero.

    Ternary weights are half the sum of two signs, which differ where the weight is 0. They have two planes of
    signs, and each panel of the first plane is followed by the panel of the second.

    Make one by :meth:`lay_out` or :meth:`over`, which check their arguments.

    Attributes:
        words: int32 of shape (planes * panels, words of a row, 16).
        n: rows, the outputs of a layer.
        k: weights in a row, the inputs of a layer.
        planes: 1 for weights of -1 and 1; 2 for ternary weights, which only :func:`w1a8` and :func:`w1a32`
            take.
    """

    words: Tensor
    n: int
    k: int
    planes: int = 1

    @classmethod
    def lay_out(cls, bits: Tensor, k: int) -> Self:
        """Lay out rows of ``k`` packed weights.

        Args:
            bits: uint8 of shape (n, packed_width(k)) on the CPU, each row contiguous, padding bits zero: the
                signs. Of shape (2, n, ...) for ternary weights: a plane that is set where they are not 0,
                and the signs, which are zero where a weight is.
            k: weights in a row.

        Raises:
            ProxConnectError: an argument is not as described.

        >>> Panels.lay_out(torch.tensor([[5], [3]], dtype=torch.uint8), 4).words[0, 0, :3]
        tensor([5, 3, 0], dtype=torch.int32)
        """
        planes: tuple[Tensor, ...] = (bits,)
        if bits.ndim == 3:
            if len(bits) != 2:
                raise ProxConnectError(
                    f"bits has {len(bits)} planes; expected 2, where weights are not 0 and signs"
                )
            nonzero, signs = bits
            planes = (signs | (nonzero ^ _set_bits(k)), signs)  # not negative, and positive
        rows = [sign_rows(plane, "bits", k) for plane in planes]
        n = planes[0].shape[0]
        panels, *of_panel = _shape_of_words(n, k)
        words = weight_memory((len(rows) * panels, *of_panel), torch.int32)
        for place, of_plane in enumerate(rows):
            native.make_panels(of_plane, k, pointer(words[place:]), len(rows))
        return cls(words, n, k, len(rows))

    @classmethod
    def over(cls, words: Tensor, n: int, k: int) -> Self:
        """Take words that are laid out already, without a copy; their number tells the planes.

        Raises:
            ProxConnectError: ``words`` are not those of ``n`` rows of ``k`` weights.
        """
        shape = _shape_of_words(n, k)
        planes = 2 if n > 0 and words.shape[:1] == (2 * shape[0],) else 1
        address_of_shape(words, "words", torch.int32, (planes * shape[0], *shape[1:]))
        return cls(words, n, k, planes)

    def rows(self, index: Tensor | None = None) -> Tensor:
        """Return rows as :meth:`lay_out` takes them: all, or those of these numbers.

        Args:
            index: integers of shape (rows,), from 0 to n - 1; all rows where absent.

        >>> Panels.lay_out(torch.tensor([[5], [3]], dtype=torch.uint8), 4).rows()
        tensor([[5],
                [3]], dtype=torch.uint8)
        """
        panels, words, _ = _shape_of_words(self.n, self.k)
        by_plane = self.words.view(panels, self.planes, words, PANEL_WIDTH)
        if index is None:
            found = by_plane.permute(1, 0, 3, 2).flatten(1, 2)[:, : self.n]
        else:
            found = by_plane[index // PANEL_WIDTH, :, :, index % PANEL_WIDTH].transpose(0, 1)
        planes = (
            found.clone(memory_format=torch.contiguous_format)
            .view(torch.uint8)[..., : packed_width(self.k)]
            .contiguous()
        )
        if self.planes == 1:
            return planes[0]
        not_negative, signs = planes
        nonzero = ~(not_negative ^ signs) & _set_bits(self.k).to(signs.device)
        return torch.stack([nonzero, signs])

    def arguments(self, most_planes: int = 1) -> tuple[int, int, int, int]:
        """Return what compiled code takes for this weight.

        Raises:
            ProxConnectError: there are more planes than the kernel takes.
        """
        if self.planes > most_planes:
            raise ProxConnectError("the weight is ternary; this kernel takes weights of -1 and 1 alone")
        return pointer(self.words), self.n, self.k, self.planes

    def __repr__(self) -> str:
        return f"Panels(n={self.n}, k={self.k}{', planes=2' * (self.planes - 1)})"


def _set_bits(k: int) -> Tensor:
    """Return a row of ``k`` bits that are set."""
    bits = torch.full((1, packed_width(k)), 255, dtype=torch.uint8, device="cpu")
    bits[:, -1:] >>= -k % 8
    return bits


def _shape_of_words(n: int, k: int) -> tuple[int, int, int]:
    return -(-n // PANEL_WIDTH), -(-k // WORD_BITS), PANEL_WIDTH
