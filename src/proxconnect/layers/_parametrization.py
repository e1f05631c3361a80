"""The parametrization that makes a layer's weight the quantized weight of a latent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from proxconnect.base.rows import Rows
from proxconnect.layers._compiled import compiled_pair
from proxconnect.layers._quantize_weight import quantize_weight, quantize_weight_and_codes
from proxconnect.layers._reads import note_read
from proxconnect.layers._scales import BINARY, exact_scale, least_squares_scale, mean_scale, scale_shape
from proxconnect.layers._sharded import gathered
from proxconnect.layers._sharpness import Sharp
from proxconnect.layers._tensors import full_name
from proxconnect.layers.config import BinarizeConfig


class BinaryWeight(Sharp):
    """The quantizer ``w = alpha F_mu(w*/s)`` of a weight, see :class:`BinarizeConfig`.

    Buffers: those of :class:`Sharp`, and ``latent_scale`` (``s``), which broadcasts against ``w*``. A learned
    ``alpha`` is the absolute value of the parameter ``learned_scale``.
    """

    latent_scale: Tensor
    learned_scale: nn.Parameter | None
    enabled: bool = True
    """Whether the weight is quantized; a training stage may leave it as its latent."""
    decay_noticed: bool = False
    """Whether a warning was given that an optimizer shrinks the latent."""

    def __init__(self, weight: Tensor, config: BinarizeConfig, rows: Rows) -> None:
        super().__init__()
        self.config = config
        self.pair = config.pair
        self.compiled = compiled_pair(config.pair)
        self.rows = rows
        self.rule = "pc"  # the step rule in charge; ProxOptimizer sets it
        self.scale_shape = scale_shape(rows, config.scale)
        scales = self.starting_scales(weight)
        self.register_buffer("latent_scale", scales["latent_scale"])
        self.register_mu(weight.device)
        self.learned_scale = nn.Parameter(scales["learned_scale"]) if config.learn_scale else None

    def forward(self, latent: Tensor, in_parts: bool = False) -> Tensor | WeightParts:
        """Return the weight that the layer computes with.

        It is the latent under the rule ``pq``, and in training under ``fp`` and ``rpc``. With ``in_parts``
        the factors of the weight are returned too.
        """
        if in_parts:
            return self._parts(latent)
        note_read(self)
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
        """Return ``alpha``, which broadcasts against ``w*`` and has a gradient only if it is learned."""
        return self.rows.spread(self.exact_scale(latent))

    def exact_scale(self, latent: Tensor) -> Tensor:
        """Return ``alpha``: one number for each row, for each group of inputs, or for the whole weight."""
        if self.learned_scale is not None:
            return self.learned_scale.abs()
        return self.present_scale(latent, self.latent_scale)

    def hard_scale(self, latent: Tensor) -> Tensor:
        """Return :meth:`exact_scale` in the dtype that is stored."""
        return self.exact_scale(latent).detach().to(self.config.scale_dtype)

    def starting_scales(self, weight: Tensor) -> dict[str, Tensor]:
        """Compute the buffer ``latent_scale`` of a weight that becomes the latents, and a learned scale.

        ``s`` is the mean ``|w|`` of the weight, or its scale if it is a level times a scale already. ``s`` is
        1 without scales, and where all ``w`` are 0.
        """
        weight, config, shape = weight.detach(), self.config, self.scale_shape
        if config.scale is None:
            return {"latent_scale": self.rows.spread(weight.new_ones(shape))}
        scale = mean_scale(weight, self.rows, shape)
        if config.levels != BINARY:
            exact, known = exact_scale(weight, config.levels, self.rows, shape, config.scale_dtype)
            scale = torch.where(known, exact, scale)
        s = self.rows.spread(scale.where(scale > 0, 1))
        learned = {"learned_scale": self.present_scale(weight, s)} if config.learn_scale else {}
        return {"latent_scale": s, **learned}

    def present_scale(self, latent: Tensor, s: Tensor) -> Tensor:
        """Compute the least-squares scale ``<w*, q>/<q, q>`` of the nearest levels ``q = P_Q(w*/s)``.

        It is the argmin over ``alpha`` of ``|w* - alpha q|^2``, and the mean ``|w*|`` for -1 and 1.
        """
        latent, levels = latent.detach(), self.config.levels
        if self.config.scale is None:
            return latent.new_ones(self.scale_shape)
        if levels == BINARY:
            return mean_scale(latent, self.rows, self.scale_shape)
        return least_squares_scale(latent, s, levels, self.rows, self.scale_shape)

    def normalized(self, latent: Tensor) -> Tensor:
        """Return the argument ``w*/s`` of F and B, detached."""
        return latent.detach() / self.latent_scale

    def _takes_latent(self) -> bool:
        return not self.enabled or self.rule == "pq" or (self.rule in ("fp", "rpc") and self.training)

    def _scale_to_give(self, latent: Tensor) -> Tensor | None:
        """Return :meth:`exact_scale`, or None for the means of rows, which the quantizing pass computes."""
        if self.config.scale == "channel" and self.learned_scale is None and self.config.levels == BINARY:
            return None
        return self.exact_scale(latent)


class WeightParts(NamedTuple):
    """A quantized weight ``alpha F_mu(w*/s)`` with its ``F_mu(w*/s)``, without gradient, and ``alpha``."""

    weight: Tensor
    codes: Tensor
    scale: Tensor


class BinarizedWeight(NamedTuple):
    """One binarized tensor of a model: ``module.tensor_name`` of the module with the name ``fqn``."""

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

    @property
    def whole_latent(self) -> Tensor:
        """The latent without gradient; of a sharded one, all processes have to ask for it."""
        return gathered(self.latent.detach())


def binarized_weights(model: nn.Module) -> Iterator[BinarizedWeight]:
    """Iterate over the binarized tensors of ``model``, in registration order.

    Tied tensors share their latent and quantizer.
    """
    for fqn, module in model.named_modules():
        for tensor_name, quantizer in binarized_tensors(module):
            yield BinarizedWeight(fqn, module, tensor_name, quantizer)


def binarized_tensors(module: nn.Module) -> Iterator[tuple[str, BinaryWeight]]:
    """Return the binarized tensors of one module with their quantizers."""
    for tensor_name in _parametrized(module):
        quantizer = binary_weight(module, tensor_name)
        if quantizer is not None:
            yield tensor_name, quantizer


def binary_weight(module: nn.Module, tensor_name: str = "weight") -> BinaryWeight | None:
    """Return the :class:`BinaryWeight` of a tensor of ``module``, or None if the tensor is not binarized."""
    if tensor_name not in _parametrized(module):
        return None
    first = cast(nn.ModuleList, cast(nn.ModuleDict, module.parametrizations)[tensor_name])[0]
    return first if isinstance(first, BinaryWeight) else None


def latent_weight(module: nn.Module, tensor_name: str = "weight") -> nn.Parameter:
    """Return the latent weight ``w*`` of a binarized tensor."""
    parametrizations = cast(nn.ModuleDict, module.parametrizations)[tensor_name]
    return cast(nn.Parameter, parametrizations.original)


def _parametrized(module: nn.Module) -> nn.ModuleDict | dict[str, nn.Module]:
    return cast(nn.ModuleDict, module.parametrizations) if parametrize.is_parametrized(module) else {}
