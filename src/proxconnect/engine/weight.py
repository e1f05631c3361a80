"""Keep a weight packed, and unpack it for as long as an operator needs it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from proxconnect.engine._kernel_choice import check_kernels
from proxconnect.engine._torch_operators import unpack
from proxconnect.format import BinaryTensor, unpack_weight
from proxconnect.kernels import Panels
from proxconnect.kernels._group_scales import scales_by_panels, scales_by_rows, scales_of_rows
from proxconnect.layers import note_read


class PackedWeight(nn.Module):
    """Bits and scales of one weight; calling it gives the weight: :func:`proxconnect.format.unpack_weight`.

    They are kept once: as they are given, or, after :meth:`lay_out`, as the kernels of linear layers read
    them. State dictionaries and attributes have them as they are given in either case.

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
        self._keep(bits=bits, scale=scale)

    def _keep(self, **tensors: Tensor) -> None:
        # register_buffer refuses the names of properties.
        self._buffers.clear()
        self._buffers.update(tensors)

    @property
    def bits(self) -> Tensor:
        """The bits as they are given: uint8; a copy where they are laid out."""
        return self._panels().rows() if self._is_laid_out else self._kept("bits")

    @property
    def scale(self) -> Tensor:
        """The scales as they are given; a copy where they are laid out."""
        if "scale" in self._buffers:
            return self._kept("scale")
        return scales_by_rows(self._kept("panel_scale"), self.form.shape[0])

    @property
    def device(self) -> torch.device:
        """The device of the bits."""
        return self._kept("words" if self._is_laid_out else "bits").device

    @property
    def on_kernels(self) -> bool:
        """Tell whether a kernel may compute with the bits: ``"fast"``, on the CPU, for float32."""
        return self.kernels == "fast" and self.device.type == "cpu" and self.dtype == torch.float32

    def lay_out(self) -> Panels:
        """Keep the bits of a matrix as kernels read them from now on, and return them."""
        if not self._is_laid_out:
            scale = self.scale
            scales = {"panel_scale": scales_by_panels(scale)} if self._grouped else {"scale": scale}
            self._keep(words=Panels.lay_out(self.bits, self.form.rows.row_shape[1]).words, **scales)
        return self._panels()

    def panel_scale(self) -> Tensor:
        """Return the scales of groups of inputs as kernels read them, of the dtype that they have."""
        self.lay_out()
        return self._kept("panel_scale")

    def _panels(self) -> Panels:
        n, k = self.form.rows.row_shape
        return Panels(self._kept("words"), n, k, self.form.bits)

    @property
    def _is_laid_out(self) -> bool:
        return "words" in self._buffers

    @property
    def _grouped(self) -> bool:
        return self.form.group is not None and self.form.group < math.prod(self.form.rows.row_shape[1:])

    def _kept(self, name: str) -> Tensor:
        return cast(Tensor, self._buffers[name])

    def _take_apart(self) -> None:
        """Undo :meth:`lay_out`."""
        if self._is_laid_out:
            self._keep(bits=self.bits, scale=self.scale)

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
        if self._is_laid_out:
            numbers = torch.arange(form.shape[0], dtype=torch.int64, device=self.device)
            wanted = numbers.index_select(0, wanted)  # which refuses others: panels are filled up
            bits = self._panels().rows(wanted)
        else:
            planes = self.bits.view(form.bits, *self.bits.shape[-2:])
            some = [plane.index_select(0, wanted) for plane in planes]
            bits = some[0] if form.bits == 1 else torch.stack(some)
        if "panel_scale" in self._buffers:
            scale = scales_of_rows(self._kept("panel_scale"), wanted)
        else:
            scale = self.scale if self.scale.shape[0] == 1 else self.scale.index_select(0, wanted)
        part = BinaryTensor((wanted.shape[0], *form.shape[1:]), form.bits, form.group)
        return self._unpacked(bits, scale, part).to(self.dtype).view(*index.shape, *form.shape[1:])

    def extra_repr(self) -> str:
        """Name shape and kernels, for ``print(model)``."""
        return f"{self.form.shape}, {self.form.bits} bit, kernels={self.kernels!r}"

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        name = "panel_scale" if "panel_scale" in self._buffers else "scale"
        scale = self._kept(name)
        self.dtype = fn(torch.empty(0, dtype=self.dtype, device=self.device)).dtype
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._buffers[name] = scale.to(self.device)
        if not self.on_kernels:
            self._take_apart()
        return self

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        destination |= {f"{prefix}bits": self.bits, f"{prefix}scale": self.scale}

    def _load_from_state_dict(self, *args: Any) -> None:
        self._take_apart()
        super()._load_from_state_dict(*args)
