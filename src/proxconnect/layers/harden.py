"""From latent weights to weights that are exactly plus or minus a scale."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from proxconnect.errors import ProxConnectError
from proxconnect.layers._parametrization import (
    BinaryWeight,
    binarized_modules,
    latent_weight,
    restore_plain_weight,
)
from proxconnect.layers.binarize import Model
from proxconnect.layers.binary_input import harden_input_, setting_of
from proxconnect.quantizers import sign


@dataclass(frozen=True)
class BinarizationInfo:
    """How a model was binarized: the names of its method and setting."""

    method: str
    setting: str


def harden_(model: Model) -> Model:
    """Replace every latent weight by ``alpha sign(w*)``, in place, and return the model.

    ``alpha`` is rounded to the configuration's ``scale_dtype`` and kept in the buffer ``weight_scale`` beside
    the weight. The latent weights are gone afterwards: the model holds what will be packed and nothing else.
    Binary activations become exactly ``sign(x - t)``, which passes no gradient.

    Raises:
        ProxConnectError: the model has no binarized layer, a latent weight is not finite, or a scale does not
            fit ``scale_dtype``. The model is then unchanged.

    >>> import torch, proxconnect as pc
    >>> layer = pc.binarize_(torch.nn.Linear(8, 4), pc.BinarizeConfig(), filter_fn=lambda module, name: True)
    >>> layer = pc.harden_(layer)
    >>> torch.equal(layer.weight.abs(), layer.weight_scale.float().expand(4, 8))
    True
    """
    layers = list(binarized_modules(model))
    if not layers:
        raise ProxConnectError("nothing to harden: the model has no binarized layer; call binarize_ first")
    hardened: dict[int, tuple[nn.Parameter, Tensor]] = {}
    for name, module, quantizer in layers:
        latent = latent_weight(module)
        if id(latent) not in hardened:  # tied weights stay tied
            hardened[id(latent)] = _hard_weight(name, latent, quantizer)
    for _, module, quantizer in layers:
        weight, scale = hardened[id(latent_weight(module))]
        restore_plain_weight(module, keep_quantized=False)
        module.weight = weight
        module.register_buffer("weight_scale", scale)
        harden_input_(module)
        module.binarization = BinarizationInfo(quantizer.pair.name, setting_of(module))  # type: ignore[assignment]
    return model


def _hard_weight(name: str, latent: Tensor, quantizer: BinaryWeight) -> tuple[nn.Parameter, Tensor]:
    if not torch.isfinite(latent).all():
        raise ProxConnectError(
            f"the latent weight of layer {name!r} has NaN or infinite values; go back to a good checkpoint"
        )
    exact, scale = quantizer.scale(latent), quantizer.hard_scale(latent)
    if not torch.isfinite(scale).all() or ((scale == 0) & (exact > 0)).any():
        raise ProxConnectError(
            f"a scale of layer {name!r} (from {exact.min():.3g} to {exact.max():.3g}) does not fit "
            f"{quantizer.config.scale_dtype}; set scale_dtype=torch.float32"
        )
    signs = sign(latent.detach(), 1.0)
    return nn.Parameter(signs * scale.to(latent.dtype), requires_grad=False), scale


def is_hardened(module: nn.Module) -> bool:
    """Whether the module's weight is plus or minus the scale in its buffer ``weight_scale``."""
    return "weight_scale" in module._buffers


def binarization_of(model: nn.Module) -> BinarizationInfo | None:
    """Method and setting of a binarized or hardened model; None where no layer is binarized.

    Layers of several methods or settings are named together, in alphabetical order.
    """
    found = {
        BinarizationInfo(quantizer.pair.name, setting_of(module))
        for _, module, quantizer in binarized_modules(model)
    }
    for module in model.modules():
        remembered = getattr(module, "binarization", None)
        if isinstance(remembered, BinarizationInfo):
            found.add(remembered)
    if not found:
        return None
    methods, settings = {info.method for info in found}, {info.setting for info in found}
    return BinarizationInfo(", ".join(sorted(methods)), ", ".join(sorted(settings)))
