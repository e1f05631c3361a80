"""Layers with binary input: integer sums of products of codes, then the scale, then the bias."""

from __future__ import annotations

from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from proxconnect.base.eager import differentiated_forwards, transformed
from proxconnect.errors import ProxConnectError
from proxconnect.layers._parametrization import BinaryWeight, binary_weight, latent_weight
from proxconnect.layers._reads import forget_reads, note_input, note_read
from proxconnect.layers._scaled_product import Convolution, LinearMap, MatrixProduct, scaled_product
from proxconnect.layers.accumulator import Accumulator
from proxconnect.layers.activations import BinaryActivation, SignActivation
from proxconnect.layers.config import BinarizeConfig


class BinaryInput(nn.Module):
    """The base of layers with binary input: ``y = alpha A(sum_k x_k q_k) + bias``.

    ``x`` are the codes that ``input_quantizer`` makes of the input in a hook before the forward, ``q`` are
    the codes of the weight, ``alpha`` is its scale per output channel or tensor, and ``A`` is the
    ``accumulator``, if there is one. The computation runs outside autocast and in float32 at least, which
    holds integers up to ``2^24``. Zero padding is neither -1 nor +1: it adds nothing to a sum.
    """

    spatial: ClassVar[int]  # dimensions of the output behind its channels
    input_channels: ClassVar[str]  # the attribute that says how many there are
    input_quantizer: SignActivation
    accumulator: Accumulator | None

    def __getattr__(self, name: str) -> Any:
        if name == "weight":  # of a hardened layer; else a parametrization, which notes it too
            note_read(self)
        return super().__getattr__(name)

    def output(self, input: Tensor, product: LinearMap) -> Tensor:
        """Compute the layer's output by its linear map ``product``, in the dtype of its weight."""
        if input.ndim == self.spatial + 1 > 1:
            return self.output(input.unsqueeze(0), product).squeeze(0)
        quantizer = binary_weight(self)
        weight = cast(Tensor, self.weight) if quantizer is None else latent_weight(self)
        with torch.autocast(input.device.type, enabled=False):
            wide = torch.promote_types(weight.dtype, torch.float32)
            return _cast(self._scaled(_cast(input, wide), weight, quantizer, product), weight.dtype)

    def _scaled(
        self, input: Tensor, weight: Tensor, quantizer: BinaryWeight | None, product: LinearMap
    ) -> Tensor:
        bias = cast(Tensor | None, self.bias)
        if quantizer is None:
            # Plus or minus the scale: it need not be kept beside the weight, in a graph least of all.
            scale = self._hardened_scale(weight)
            sums = product(input, _cast(weight, input.dtype).sign()).round()
        else:
            quantized, codes, scale = (_cast(part, input.dtype) for part in quantizer(weight, in_parts=True))
            if self.accumulator is None and not (transformed() or differentiated_forwards()):
                return scaled_product(input, quantized, codes, scale.detach(), bias, product)
            spread = quantizer.rows.spread(scale)
            codes = quantized / spread.where(spread != 0, 1)
            sums = _rounded(product(input, codes), input, codes)
        if self.accumulator is not None:
            sums = self.accumulator(sums)
        if transformed():  # in place, vmap could not spread a batch of scales over sums without one
            output = sums * self._per_channel(scale)
            return output if bias is None else output + self._per_channel(bias)
        # In place: these are passes over all outputs, and nobody else holds the sums.
        output = sums.mul_(self._per_channel(scale))
        return output if bias is None else output.add_(self._per_channel(bias))

    def _hardened_scale(self, weight: Tensor) -> Tensor:
        return weight.abs().amax(dim=tuple(range(1, weight.ndim)), keepdim=True)

    def _per_channel(self, values: Tensor) -> Tensor:
        return values.reshape(-1, *(1,) * self.spatial)


def _cast(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Convert to ``dtype``; an exported graph has the operator even if it changes nothing."""
    return x if x.dtype == dtype else x.to(dtype)


def _rounded(sums: Tensor, input: Tensor, codes: Tensor) -> Tensor:
    """Round sums of integers to exact integers, with gradient 1; other sums stay as they are.

    In float32 such sums are exact already, unless the convolution's algorithm transforms its operands first.
    """
    integers = (input == input.round()).all() & (codes == codes.round()).all()
    return sums + torch.where(integers, sums.round() - sums, 0).detach()


class BinaryInputLinear(BinaryInput, nn.Linear):
    """A layer ``nn.Linear`` with binary input."""

    spatial = 0
    input_channels = "in_features"

    def forward(self, input: Tensor) -> Tensor:
        """Map ``(..., in)`` to ``(..., out)``."""
        return self.output(input, MatrixProduct())


class _BinaryInputConv(BinaryInput):
    input_channels = "in_channels"

    def forward(self, input: Tensor) -> Tensor:
        """Map ``(N, in, ...)`` to ``(N, out, ...)``, with or without ``N``."""
        layer = cast(nn.Conv2d, self)
        before, after = (tuple(layer._reversed_padding_repeated_twice[end::2]) for end in (0, 1))
        padding = before[::-1]
        if layer.padding_mode != "zeros" or before != after:
            mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
            input = functional.pad(input, layer._reversed_padding_repeated_twice, mode)
            padding = (0,) * self.spatial
        return self.output(input, Convolution(layer.stride, padding, layer.dilation, layer.groups))


class BinaryInputConv1d(_BinaryInputConv, nn.Conv1d):
    """A layer ``nn.Conv1d`` with binary input."""

    spatial = 1


class BinaryInputConv2d(_BinaryInputConv, nn.Conv2d):
    """A layer ``nn.Conv2d`` with binary input."""

    spatial = 2


class BinaryInputConv3d(_BinaryInputConv, nn.Conv3d):
    """A layer ``nn.Conv3d`` with binary input."""

    spatial = 3


class _BinaryInputConvTranspose(BinaryInput):
    input_channels = "in_channels"

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Map ``(N, in, ...)`` to ``(N, out, ...)``, with or without ``N``; ``output_size`` as in PyTorch."""
        layer = cast(Any, self)
        shape = layer.stride, layer.padding, layer.kernel_size, self.spatial, layer.dilation
        output_padding = tuple(layer._output_padding(input, output_size, *shape))
        layout = layer.stride, layer.padding, layer.dilation, layer.groups
        return self.output(input, Convolution(*layout, output_padding))

    def _hardened_scale(self, weight: Tensor) -> Tensor:
        # (in, out / groups, ...): outputs of a group lie beside each other, groups along the inputs.
        size = weight.reshape(cast(int, self.groups), -1, *weight.shape[1:]).abs()
        return size.amax(dim=(1, *range(3, size.ndim)))


class BinaryInputConvTranspose1d(_BinaryInputConvTranspose, nn.ConvTranspose1d):
    """A layer ``nn.ConvTranspose1d`` with binary input."""

    spatial = 1


class BinaryInputConvTranspose2d(_BinaryInputConvTranspose, nn.ConvTranspose2d):
    """A layer ``nn.ConvTranspose2d`` with binary input."""

    spatial = 2


class BinaryInputConvTranspose3d(_BinaryInputConvTranspose, nn.ConvTranspose3d):
    """A layer ``nn.ConvTranspose3d`` with binary input."""

    spatial = 3


_BINARY_INPUT: dict[type[nn.Module], type[BinaryInput]] = {
    nn.Linear: BinaryInputLinear,
    nn.Conv1d: BinaryInputConv1d,
    nn.Conv2d: BinaryInputConv2d,
    nn.Conv3d: BinaryInputConv3d,
    nn.ConvTranspose1d: BinaryInputConvTranspose1d,
    nn.ConvTranspose2d: BinaryInputConvTranspose2d,
    nn.ConvTranspose3d: BinaryInputConvTranspose3d,
}


_PLAIN_INPUT = {binary: plain for plain, binary in _BINARY_INPUT.items()}


def takes_binary_input(module: nn.Module) -> bool:
    """Tell whether the module's activations can be binarized: ``Linear`` and all convolutions.

    The output projection of ``nn.MultiheadAttention`` is a ``Linear`` whose forward is never called.
    """
    uncalled = isinstance(module, nn.modules.linear.NonDynamicallyQuantizableLinear)
    return isinstance(module, tuple(_BINARY_INPUT)) and not uncalled


def refuse_unfit_for_binary_input(name: str, module: nn.Module) -> None:
    """Refuse a subclass, whose own forward would be lost."""
    known = type(module) in _BINARY_INPUT or isinstance(module, BinaryInput)
    if takes_binary_input(module) and not known:
        kinds = ", ".join(kind.__name__ for kind in _BINARY_INPUT)
        raise ProxConnectError(
            f"layer {name!r} is of class {type(module).__name__}: binary activations take {kinds}, "
            "not a class derived from them; leave the layer out or keep its activations in full precision"
        )


def binarize_input_(module: nn.Module, config: BinarizeConfig) -> None:
    """Give a layer binary input if ``config`` has it, in place: another class, a quantizer and a hook.

    The layer stays an instance of its former class; hooks, deepcopy and ``state_dict`` work as before. A
    hardened layer's learned thresholds stay.
    """
    if not takes_binary_input(module):
        return
    thresholds = _plain_input_(module)
    pair = config.activation_pair
    if pair is None:
        return
    weight = cast(nn.Parameter, module.weight)
    module.__class__ = _BINARY_INPUT[type(module)]
    layer = cast(BinaryInput, module)
    if config.learn_thresholds and thresholds is None:
        channels = getattr(layer, layer.input_channels)
        thresholds = nn.Parameter(weight.new_zeros(channels, *(1,) * layer.spatial))
    layer.input_quantizer = BinaryActivation(pair, thresholds, weight.device)
    limited = config.accumulator_bits < 32
    layer.accumulator = Accumulator(config.accumulator_bits, config.overflow) if limited else None
    layer.register_forward_pre_hook(_quantize_input, with_kwargs=True)


def _plain_input_(module: nn.Module) -> nn.Parameter | None:
    """Undo :func:`binarize_input_` in place, and return the thresholds of the layer."""
    if not isinstance(module, BinaryInput):
        return None
    thresholds = module.input_quantizer.thresholds
    del module.input_quantizer, module.accumulator
    forget_reads(module)
    for key in [key for key, hook in module._forward_pre_hooks.items() if hook is _quantize_input]:
        del module._forward_pre_hooks[key]
        module._forward_pre_hooks_with_kwargs.pop(key, None)
    module.__class__ = _PLAIN_INPUT[type(module)]  # type: ignore[assignment]
    return thresholds


def _quantize_input(
    layer: BinaryInput, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    input, *output_size = (*args, *kwargs.values())
    note_input(layer, input, layer.input_quantizer.shifted)
    return (layer.input_quantizer(input), *output_size), {}


def harden_input_(module: nn.Module) -> None:
    """Replace the layer's :class:`BinaryActivation`, if it has one, by the sign, in place."""
    if isinstance(module, BinaryInput) and isinstance(module.input_quantizer, BinaryActivation):
        module.input_quantizer = module.input_quantizer.hardened()


def setting_of(module: nn.Module) -> str:
    """Return the setting of a binarized layer: ``"bw"``, ``"bwa"`` or ``"bwaa"``."""
    if not isinstance(module, BinaryInput):
        return "bw"
    return "bwa" if module.accumulator is None else "bwaa"
