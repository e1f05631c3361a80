"""The parametrization that makes a layer's weight the quantized weight of a latent one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from proxconnect._rows import Rows
from proxconnect.layers._compiled import compiled_pair, mean_magnitudes
from proxconnect.layers._quantize_weight import quantize_weight, quantize_weight_and_codes
from proxconnect.layers._sharpness import Sharp
from proxconnect.layers._tensors import full_name, read_weights_anew
from proxconnect.layers.config import BinarizeConfig


class BinaryWeight(Sharp):
    """``w = alpha F_mu(w*/s)``: see :class:`BinarizeConfig`.

    Buffers: ``mu``, and ``latent_scale`` (``s``), which broadcasts against ``w*``. A learned ``alpha`` is the
    absolute value of the parameter ``learned_scale``.
    """

    latent_scale: Tensor
    learned_scale: nn.Parameter | None
    enabled: bool = True
    """Whether the weight is quantized; a training stage may leave it as its latent."""

    def __init__(self, weight: Tensor, config: BinarizeConfig, rows: Rows) -> None:
        super().__init__()
        self.config = config
        self.pair = config.pair
        self.compiled = compiled_pair(config.pair)
        self.rows = rows
        self.rule = "pc"  # the step rule in charge; ProxOptimizer sets it
        mean = self._mean(weight)
        scale = rows.spread(mean)
        # A channel of zeros has no size of its own to normalise by.
        self.register_buffer("latent_scale", scale.where(scale > 0, 1))
        self.register_mu(weight.device)
        self.learned_scale = nn.Parameter(mean) if config.learn_scale else None

    def forward(self, latent: Tensor, in_parts: bool = False) -> Tensor | WeightParts:
        """The weight that the layer computes with; under pq, and in training under fp and rpc, the latent.

        With ``in_parts`` it comes with what it is the product of.
        """
        if in_parts:
            return self._parts(latent)
        if self._takes_latent():
            return latent
        return quantize_weight(
            latent, self._scale_to_give(latent), self.latent_scale, self.mu, self.compiled, self.rows
        )

    def _parts(self, latent: Tensor) -> WeightParts:
        if self._takes_latent():
            alpha = self.exact_scale(latent)
            scale = self.rows.spread(alpha.detach())
            return WeightParts(latent, latent.detach() / scale.where(scale != 0, 1), alpha)
        return WeightParts(
            *quantize_weight_and_codes(
                latent, self._scale_to_give(latent), self.latent_scale, self.mu, self.compiled, self.rows
            )
        )

    def scale(self, latent: Tensor) -> Tensor:
        """``alpha``, as it broadcasts against ``w*``; the mean of ``|w*|`` is a constant for the gradient."""
        return self.rows.spread(self.exact_scale(latent))

    def exact_scale(self, latent: Tensor) -> Tensor:
        """``alpha``, one number for each row, for each group of its inputs, or for all of them."""
        return self._mean(latent) if self.learned_scale is None else self.learned_scale.abs()

    def hard_scale(self, latent: Tensor) -> Tensor:
        """:meth:`exact_scale` in the dtype that is stored."""
        return self.exact_scale(latent).detach().to(self.config.scale_dtype)

    def normalized(self, latent: Tensor) -> Tensor:
        """The argument ``w*/s`` of F and B, detached."""
        return latent.detach() / self.latent_scale

    def _takes_latent(self) -> bool:
        return not self.enabled or self.rule == "pq" or (self.rule in ("fp", "rpc") and self.training)

    def _scale_to_give(self, latent: Tensor) -> Tensor | None:
        """:meth:`exact_scale`; None for the means of rows, which the quantizing pass takes."""
        if self.config.scale == "channel" and self.learned_scale is None:
            return None
        return self.exact_scale(latent)

    def _mean(self, latent: Tensor) -> Tensor:
        """The present mean of ``|w*|`` for each number that is stored; ones where there is no scale."""
        group = self.rows.group
        if group is not None:
            (shape,) = self.rows.scale_shapes
            inputs = math.prod(self.rows.row_shape[1:])
            starts = torch.arange(0, inputs, group, device=latent.device)
            members = (inputs - starts).clamp(max=group)  # the last group may be smaller
            return self.rows.summed(latent.detach().abs(), shape) / members
        if self.config.scale is None:
            return latent.new_ones((1,) * latent.ndim)
        means = mean_magnitudes(self.rows.turned(latent.detach()))
        return means if self.config.scale == "channel" else means.mean(dim=0, keepdim=True)


class WeightParts(NamedTuple):
    """A quantized weight ``alpha F_mu(w*/s)``; ``F_mu(w*/s)``, a constant for the gradient; and ``alpha``."""

    weight: Tensor
    codes: Tensor
    scale: Tensor


class BinarizedWeight(NamedTuple):
    """One binarized tensor of a model: ``module.tensor_name``, where the module is called ``fqn``."""

    fqn: str
    module: nn.Module
    tensor_name: str
    quantizer: BinaryWeight

    @property
    def name(self) -> str:
        """The tensor's fully qualified name."""
        return full_name(self.fqn, self.tensor_name)

    @property
    def latent(self) -> nn.Parameter:
        """The latent weight ``w*``."""
        return latent_weight(self.module, self.tensor_name)


def binarized_weights(model: nn.Module) -> Iterator[BinarizedWeight]:
    """Every binarized tensor of ``model``, in registration order; tied ones share latent and quantizer."""
    for fqn, module in model.named_modules():
        for tensor_name in _parametrized(module):
            quantizer = binary_weight(module, tensor_name)
            if quantizer is not None:
                yield BinarizedWeight(fqn, module, tensor_name, quantizer)


def binary_weight(module: nn.Module, tensor_name: str = "weight") -> BinaryWeight | None:
    """The :class:`BinaryWeight` of one tensor of ``module``, or None where it is not binarized."""
    if tensor_name not in _parametrized(module):
        return None
    first = cast(nn.ModuleList, cast(nn.ModuleDict, module.parametrizations)[tensor_name])[0]
    return first if isinstance(first, BinaryWeight) else None


def latent_weight(module: nn.Module, tensor_name: str = "weight") -> nn.Parameter:
    """The latent weight ``w*`` of a binarized tensor."""
    parametrizations = cast(nn.ModuleDict, module.parametrizations)[tensor_name]
    return cast(nn.Parameter, parametrizations.original)


def parametrize_(module: nn.Module, quantizers: dict[str, BinaryWeight]) -> None:
    """Make tensors of ``module`` the quantized weights of latents, by name."""
    for tensor_name, quantizer in quantizers.items():
        parametrize.register_parametrization(module, tensor_name, quantizer, unsafe=True)
    if isinstance(module, nn.RNNBase):
        read_weights_anew(type(module))  # the class that torch made for this module
        del module.__dict__["_flat_weights"]


def restore_latents(module: nn.Module) -> None:
    """Undo the parametrizations of a binarized module: its weights are then its latents."""
    give_own_class(module)
    for tensor_name in [name for name in _parametrized(module) if binary_weight(module, name) is not None]:
        parametrize.remove_parametrizations(module, tensor_name, leave_parametrized=False)
    if isinstance(module, nn.RNNBase):
        module._init_flat_weights()


def give_own_class(module: nn.Module) -> None:
    """Give a parametrized module a class of its own.

    ``copy.deepcopy`` leaves copy and original with one class between them, from which torch would delete the
    property of both with the parametrization of one.
    """
    shared = type(module)
    fields = {name: value for name, value in vars(shared).items() if name not in ("__dict__", "__weakref__")}
    module.__class__ = type(shared.__name__, shared.__bases__, fields)


def _parametrized(module: nn.Module) -> nn.ModuleDict | dict[str, nn.Module]:
    return cast(nn.ModuleDict, module.parametrizations) if parametrize.is_parametrized(module) else {}
