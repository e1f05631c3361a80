"""Keep a weight packed, and unpack it for as long as an operator needs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn

from proxconnect.engine._kernel_choice import check_kernels
from proxconnect.engine._torch_operators import unpack
from proxconnect.format import BinaryTensor, unpack_weight
from proxconnect.layers import note_read


class PackedWeight(nn.Module):
    """Bits and scales of one weight; calling it gives the weight: :func:`proxconnect.format.unpack_weight`.

    ``bits`` stay ``uint8`` and ``scale`` keeps its dtype whatever the module is moved to: ``.to(dtype)`` only
    chooses the dtype of the weights that come out, ``.to(device)`` moves everything.

    Args:
        bits: uint8 as :func:`proxconnect.format.pack_weight` makes them.
        scale: floating point, of one of ``form.rows.scale_shapes``.
        form: the weight's shape and levels.
        kernels: ``"fast"`` unpacks with compiled code on the CPU, ``"reference"`` in torch; the weights are
            the same.
        dtype: of the weights that come out, until the module is moved to another.

    Raises:
        ProxConnectError: unknown ``kernels``.

    >>> bits, scale = torch.tensor([[5]], dtype=torch.uint8), torch.tensor([[0.5]], dtype=torch.float16)
    >>> PackedWeight(bits, scale, BinaryTensor((1, 4)), kernels="reference")()
    tensor([[ 0.5000, -0.5000,  0.5000, -0.5000]])
    """

    bits: Tensor
    scale: Tensor

    def __init__(
        self,
        bits: Tensor,
        scale: Tensor,
        form: BinaryTensor,
        kernels: str = "fast",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        check_kernels(kernels)
        self.form = form
        self.kernels = kernels
        self.dtype = dtype
        self.register_buffer("bits", bits)
        self.register_buffer("scale", scale)

    @property
    def on_kernels(self) -> bool:
        """Tell whether a kernel may compute with the bits: ``"fast"``, on the CPU, for float32."""
        return self.kernels == "fast" and self.bits.is_cpu and self.dtype == torch.float32

    def forward(self) -> Tensor:
        """Unpack the weight; nothing keeps it."""
        note_read(self)
        return self._unpacked(self.bits, self.scale, self.form).to(self.dtype)

    def _unpacked(self, bits: Tensor, scale: Tensor, form: BinaryTensor) -> Tensor:
        if self.kernels == "fast" and bits.is_cpu:
            return form.rows.turned(unpack(bits, scale, form.rows.row_shape, form.group))
        return unpack_weight(bits, scale, form)

    def rows(self, index: Tensor) -> Tensor:
        """Unpack the rows that ``index`` names, and no others: the weight indexed by it.

        Args:
            index: int32 or int64 of any shape, numbers of rows; on the device of the weight.

        Raises:
            IndexError: there is no such row.

        >>> bits, scale = torch.tensor([[5], [2]], dtype=torch.uint8), torch.tensor([[0.5], [1.0]])
        >>> PackedWeight(bits, scale, BinaryTensor((2, 3))).rows(torch.tensor([1, 1]))
        tensor([[-1.,  1., -1.],
                [-1.,  1., -1.]])
        """
        form, wanted = self.form, index.reshape(-1)
        planes = [plane.index_select(0, wanted) for plane in self.bits.view(form.bits, *self.bits.shape[-2:])]
        bits = planes[0] if form.bits == 1 else torch.stack(planes)
        scale = self.scale if self.scale.shape[0] == 1 else self.scale.index_select(0, wanted)
        part = BinaryTensor((wanted.shape[0], *form.shape[1:]), form.bits, form.group)
        return self._unpacked(bits, scale, part).to(self.dtype).view(*index.shape, *form.shape[1:])

    def extra_repr(self) -> str:
        """Name shape and kernels, for ``print(model)``."""
        return f"{self.form.shape}, {self.form.bits} bit, kernels={self.kernels!r}"

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        scale = self.scale
        self.dtype = fn(torch.empty(0, dtype=self.dtype, device=self.bits.device)).dtype
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.scale = scale.to(self.bits.device)
        return self
