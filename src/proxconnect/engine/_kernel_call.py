"""Call a kernel with a weight and an epilogue that are laid out once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from proxconnect.base.eager import unobserved
from proxconnect.engine._chain_operators import multiply_to_chain, take_through
from proxconnect.engine._layer_geometry import LayerGeometry
from proxconnect.engine._operand_layout import ConvOperand, LinearOperand
from proxconnect.engine._torch_operators import Operand, multiply, multiply_to_signs, pack
from proxconnect.engine.weight import PackedWeight
from proxconnect.kernels import Affine, Chain, ConvPanels, Geometry, Outputs, PreparedCall, Thresholds


@dataclass(frozen=True)
class KernelCall:
    """A call of a kernel but for its input: the sums of a layer, then ``epilogue``.

    Args:
        kernel: as :func:`proxconnect.engine._kernel_choice.kernel_of` names it; the input of ``"w1a1"`` is
            packed.
        weight: the weight, laid out.
        flat: the layer has one dimension where its kernel has two.
        epilogue: an affine function to floats, or, for ``"w1a1"`` alone, thresholds to bits or a chain.
        wrap: sums are kept in 8 bits, as two's complement does.
        channels_last: images of floats come out so, which takes no copy.
    """

    kernel: str
    weight: Operand
    flat: bool
    epilogue: Affine | Thresholds | Chain
    wrap: bool = False
    channels_last: bool = True

    def __call__(self, x: Tensor, residual: Tensor | None = None) -> Tensor | Outputs:
        """Compute the layer's output; the epilogue adds ``residual``. A chain may have two outputs."""
        found = None if self.flat else self._at_once(x, residual)
        if found is not None:
            return found
        if isinstance(self.epilogue, Thresholds):
            return multiply_to_signs(x, self.weight, self.epilogue, self.wrap)
        if isinstance(self.epilogue, Chain):
            if self.flat and residual is not None:
                residual = residual.unsqueeze(2)
            floats, signs = multiply_to_chain(x, self.weight, self.epilogue, residual, self.wrap)
            return _outputs(None if floats is None else self._finished(floats), signs)
        return self.to_floats(x, self.epilogue, residual)

    def _at_once(self, x: Tensor, residual: Tensor | None) -> Tensor | Outputs | None:
        """Compute the output of tensors that nobody watches and that lie as the kernel takes them; else None.

        It takes Python a fraction of the time of the way through an operator.
        """
        dtype = torch.uint8 if self.kernel == "w1a1" else torch.float32
        if not unobserved(x, dtype) or (residual is not None and not unobserved(residual)):
            return None
        found = self.prepared(x, residual)
        if isinstance(found, Outputs):
            floats = found.floats
            floats = None if floats is None else self._finished(self._shaped(floats))
            return _outputs(floats, found.signs)
        if found is None or isinstance(self.epilogue, Thresholds):
            return found
        return self._finished(self._shaped(found))

    @cached_property
    def prepared(self) -> PreparedCall:
        """The call of the compiled function, for tensors that lie as it takes them."""
        weight, *geometry = self.weight.operands
        bits = int(self.kernel.rpartition("a")[2])
        return PreparedCall(bits, weight, self.epilogue, *geometry, wrap=self.wrap)

    def _shaped(self, y: Tensor) -> Tensor:
        """Put the channels of an image's floats where torch has them."""
        return y.permute(0, 3, 1, 2) if isinstance(self.weight, ConvOperand) else y

    def to_floats(self, x: Tensor, affine: Affine, residual: Tensor | None = None) -> Tensor:
        """Compute the layer's output with another epilogue, to floats."""
        if self.flat:
            x = x if self.kernel == "w1a1" else x.unsqueeze(2)
            residual = None if residual is None else residual.unsqueeze(2)
        wrap = {"wrap": self.wrap} if self.kernel == "w1a1" else {}
        return self._finished(multiply(self.kernel, x, self.weight, affine, residual, **wrap))

    def _finished(self, y: Tensor) -> Tensor:
        """Give the floats of a kernel the layer's dimensions and memory format."""
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


@dataclass(frozen=True)
class ChainCall:
    """A call of a chain over floats.

    Args:
        kind: the kind of layer that such floats come from: images for convolutions, rows otherwise.
        chain: the steps.
        channels_last: images come out so, which takes no copy.
    """

    kind: type[Operand]
    chain: Chain
    channels_last: bool = True

    def __call__(self, x: Tensor, residual: Tensor | None = None) -> Tensor | Outputs:
        """Take ``x`` through the steps, one of which adds ``residual``; there may be two outputs."""
        floats, signs = take_through(x, self.kind, self.chain, residual)
        if floats is not None and not self.channels_last:
            floats = floats.contiguous()
        return _outputs(floats, signs)


def _outputs(floats: Tensor | None, signs: Tensor | None) -> Tensor | Outputs:
    """Return the output of a chain, or both of them."""
    if floats is not None and signs is not None:
        return Outputs(floats, signs)
    output = signs if floats is None else floats
    assert output is not None
    return output


def lay_out(weight: PackedWeight, geometry: LayerGeometry) -> Operand:
    """Lay a weight out as the kernels of layers of this geometry take it."""
    shape = weight.form.rows.row_shape
    if geometry.operation == "linear":
        return LinearOperand(weight.lay_out())
    height, width = (1, *shape[2:])[-2:]
    panels = ConvPanels.lay_out(weight.bits, (shape[0], shape[1], height, width), geometry.groups)
    return ConvOperand(panels, Geometry(geometry.stride, geometry.padding, geometry.dilation))


def affine_of(weight: PackedWeight, bias: Tensor | None = None) -> Affine:
    """Return the epilogue that multiplies the sums of a weight by its scales and adds a bias."""
    group = weight.form.group
    if group is None or group >= math.prod(weight.form.rows.row_shape[1:]):
        return Affine.of(scale_of(weight), bias)
    scale = weight.panel_scale()
    if scale.dtype != torch.float16:
        scale = scale.to(torch.float32)
    zeros = torch.zeros(weight.form.rows.row_shape[0], dtype=torch.float32, device="cpu")
    bias = zeros if bias is None else zeros + bias.detach()
    return Affine.over(scale, bias, group=group)


def scale_of(weight: PackedWeight) -> Tensor:
    """Return one scale for each output, in float32, of a weight without groups of inputs."""
    return (
        weight.scale.detach().to(torch.float32).reshape(-1).expand(weight.form.rows.row_shape[0]).contiguous()
    )
