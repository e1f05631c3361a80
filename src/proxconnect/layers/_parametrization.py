"""The parametrization that makes ``module.weight`` the quantized weight of a latent one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Self, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from proxconnect.layers.config import BinarizeConfig


class BinaryWeight(nn.Module):
    """``w = alpha F_mu(w*/s)``: see :class:`BinarizeConfig`. Buffers: ``mu`` and ``latent_scale`` (``s``)."""

    mu: Tensor
    latent_scale: Tensor
    enabled: bool = True
    """Whether the weight is quantized; a training stage may leave it as its latent."""

    def __init__(self, weight: Tensor, config: BinarizeConfig) -> None:
        super().__init__()
        self.config = config
        self.pair = config.pair
        scale = self.scale(weight)
        # A channel of zeros has no size of its own to normalise by.
        self.register_buffer("latent_scale", scale.where(scale > 0, 1))
        self.register_buffer("mu", torch.ones((), dtype=torch.float32, device=weight.device))

    def forward(self, latent: Tensor) -> Tensor:
        """The weight that the layer computes with."""
        if not self.enabled:
            return latent
        return self.scale(latent) * self.pair(latent / self.latent_scale, self.mu)

    def scale(self, latent: Tensor) -> Tensor:
        """``alpha``: the present mean of ``|w*|``, a constant for the gradient; broadcasts against ``w*``."""
        size = latent.detach().abs()
        if self.config.scale == "channel":
            return size.mean(dim=tuple(range(1, size.ndim)), keepdim=True)
        if self.config.scale == "tensor":
            return size.mean().reshape((1,) * size.ndim)
        return torch.ones((1,) * size.ndim, dtype=size.dtype, device=size.device)

    def hard_scale(self, latent: Tensor) -> Tensor:
        """``alpha`` in the dtype that is stored."""
        return self.scale(latent).to(self.config.scale_dtype)

    def normalized(self, latent: Tensor) -> Tensor:
        """The argument ``w*/s`` of F and B, detached."""
        return latent.detach() / self.latent_scale

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # mu stays float32 whatever dtype the model moves to; only its device follows.
        mu = self.mu
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.mu = mu.to(self.mu.device)
        return self


def binary_weight(module: nn.Module) -> BinaryWeight | None:
    """The module's :class:`BinaryWeight`, or None where its weight is not binarized."""
    if not parametrize.is_parametrized(module, "weight"):
        return None
    parametrizations = cast(nn.ModuleDict, module.parametrizations)["weight"]
    first = cast(nn.ModuleList, parametrizations)[0]
    return first if isinstance(first, BinaryWeight) else None


def latent_weight(module: nn.Module) -> nn.Parameter:
    """The latent weight ``w*`` of a binarized module."""
    parametrizations = cast(nn.ModuleDict, module.parametrizations)["weight"]
    return cast(nn.Parameter, parametrizations.original)


def binarized_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module, BinaryWeight]]:
    """Name, module and :class:`BinaryWeight` of every binarized layer, in registration order."""
    for name, module in model.named_modules():
        quantizer = binary_weight(module)
        if quantizer is not None:
            yield name, module, quantizer


def restore_plain_weight(module: nn.Module, *, keep_quantized: bool) -> None:
    """Undo the parametrization of a binarized module; its weight is then the quantized or the latent one."""
    # copy.deepcopy leaves copy and original with one class between them, from which torch would now delete
    # the property of both: give this module a class of its own first.
    shared = type(module)
    fields = {name: value for name, value in vars(shared).items() if name not in ("__dict__", "__weakref__")}
    module.__class__ = type(shared.__name__, shared.__bases__, fields)
    parametrize.remove_parametrizations(module, "weight", leave_parametrized=keep_quantized)
