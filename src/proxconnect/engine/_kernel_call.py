"""Call a kernel with a weight and an epilogue that are laid out once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from proxconnect.engine._layer_geometry import LayerGeometry
from proxconnect.engine._operand_layout import ConvOperand, LinearOperand
from proxconnect.engine._torch_operators import Operand, multiply, multiply_to_signs, pack
from proxconnect.engine.weight import PackedWeight
from proxconnect.kernels import Affine, ConvPanels, Geometry, Panels, Thresholds


@dataclass(frozen=True)
class KernelCall:
    """A call of a kernel but for its input: the sums of a layer, then ``epilogue``.

    Args:
        kernel: ``"w1a1"``, whose input is packed, ``"w1a6"``, ``"w1a8"`` or ``"w1a32"``.
        weight: the weight, laid out.
        flat: the layer has one dimension where its kernel has two.
        epilogue: an affine function to floats, or thresholds to bits, which are for ``"w1a1"`` alone.
        wrap: sums are kept in 8 bits, as two's complement does.
        channels_last: images of floats come out so, which takes no copy.
    """

    kernel: str
    weight: Operand
    flat: bool
    epilogue: Affine | Thresholds
    wrap: bool = False
    channels_last: bool = True

    def __call__(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Compute the layer's output; the epilogue adds ``residual``."""
        if isinstance(self.epilogue, Thresholds):
            return multiply_to_signs(x, self.weight, self.epilogue, self.wrap)
        return self.to_floats(x, self.epilogue, residual)

    def to_floats(self, x: Tensor, affine: Affine, residual: Tensor | None = None) -> Tensor:
        """Compute the layer's output with another epilogue, to floats."""
        if self.flat:
            x = x if self.kernel == "w1a1" else x.unsqueeze(2)
            residual = None if residual is None else residual.unsqueeze(2)
        wrap = {"wrap": self.wrap} if self.kernel == "w1a1" else {}
        y = multiply(self.kernel, x, self.weight, affine, residual, **wrap)
        if self.flat:
            return y.squeeze(2).contiguous()
        return y if self.channels_last else y.contiguous()

    @property
    def affine(self) -> Affine:
        """The epilogue of a call that gives floats."""
        assert isinstance(self.epilogue, Affine)
        return self.epilogue

    @property
    def inputs(self) -> int:
        """The number of products in a sum."""
        return self.weight.operands[0].k

    @property
    def spatial_dimensions(self) -> int:
        """The number of dimensions behind the channels of an output (N, n, ...); 0 for (..., n)."""
        return 0 if isinstance(self.weight, LinearOperand) else 1 if self.flat else 2

    @property
    def packing(self) -> tuple[type[Operand], bool]:
        """The form of the packed input; calls with the same form can share one."""
        return type(self.weight), self.flat

    def pack_input(self, x: Tensor) -> Tensor:
        """Pack the signs of a float input as this kernel takes them."""
        return pack(x.unsqueeze(2) if self.flat else x, type(self.weight))


def lay_out(weight: PackedWeight, geometry: LayerGeometry) -> Operand:
    """Lay a weight out as the kernels of layers of this geometry take it."""
    bits, shape = weight.bits, weight.form.rows.row_shape
    if geometry.operation == "linear":
        return LinearOperand(Panels.lay_out(bits, shape[1]))
    height, width = (1, *shape[2:])[-2:]
    panels = ConvPanels.lay_out(bits, (shape[0], shape[1], height, width), geometry.groups)
    return ConvOperand(panels, Geometry(geometry.stride, geometry.padding, geometry.dilation))


def scale_of(weight: PackedWeight) -> Tensor:
    """Return one scale for each output, in float32."""
    return (
        weight.scale.detach().to(torch.float32).reshape(-1).expand(weight.form.rows.row_shape[0]).contiguous()
    )
