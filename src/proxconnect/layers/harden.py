"""From latent weights to weights that are exactly a level times a scale."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from proxconnect._rows import Rows
from proxconnect.errors import ProxConnectError
from proxconnect.layers._parametrization import BinarizedWeight, binarized_weights, restore_latents
from proxconnect.layers._tensors import full_name
from proxconnect.layers.binarize import Model
from proxconnect.layers.binary_input import harden_input_, setting_of
from proxconnect.quantizers import projector


@dataclass(frozen=True)
class BinarizationInfo:
    """How a model was binarized: the names of its method and setting."""

    method: str
    setting: str


@dataclass(frozen=True)
class Hardened:
    """What a layer remembers of one hardened tensor: ``module.binarization[tensor_name]``."""

    info: BinarizationInfo
    levels: tuple[float, ...]
    rows: Rows


class HardenedWeight(NamedTuple):
    """One hardened tensor of a model: ``module.tensor_name``, where the module is called ``fqn``."""

    fqn: str
    module: nn.Module
    tensor_name: str
    form: Hardened

    @property
    def name(self) -> str:
        """The tensor's fully qualified name."""
        return full_name(self.fqn, self.tensor_name)

    @property
    def weight(self) -> nn.Parameter:
        """A level times a scale, each."""
        return cast(nn.Parameter, getattr(self.module, self.tensor_name))

    @property
    def scale(self) -> Tensor:
        """The scales as they are stored."""
        return cast(Tensor, getattr(self.module, scale_name(self.tensor_name)))


def harden_(model: Model) -> Model:
    """Replace every latent weight by ``alpha P_Q(w*/s)``, in place, and return the model.

    ``P_Q`` takes the nearest level, for ``Q = {-1, 1}`` the sign. ``alpha`` is rounded to the configuration's
    ``scale_dtype`` and kept in the buffer ``weight_scale`` beside the weight (``in_proj_weight_scale`` beside
    ``in_proj_weight``, and so on). The latent weights are gone afterwards: the model holds what will be
    packed and nothing else. Binary activations become exactly ``sign(x - t)``, which passes no gradient.

    Raises:
        ProxConnectError: the model has no binarized layer, a latent weight or learned scale is not finite, or
            a scale does not fit ``scale_dtype``. The model is then unchanged.

    >>> import torch, proxconnect as pc
    >>> layer = pc.binarize_(torch.nn.Linear(8, 4), pc.BinarizeConfig(), filter_fn=lambda module, name: True)
    >>> layer = pc.harden_(layer)
    >>> torch.equal(layer.weight.abs(), layer.weight_scale.float().expand(4, 8))
    True
    """
    found = list(binarized_weights(model))
    if not found:
        raise ProxConnectError("nothing to harden: the model has no binarized layer; call binarize_ first")
    hard: dict[int, tuple[nn.Parameter, Tensor]] = {}
    latents = [id(weight.latent) for weight in found]
    for latent, binarized in zip(latents, found, strict=True):
        if latent not in hard:  # tied weights stay tied
            hard[latent] = _hard_weight(binarized)
    for module in {id(weight.module): weight.module for weight in found}.values():
        restore_latents(module)
    for latent, (_, module, tensor_name, quantizer) in zip(latents, found, strict=True):
        weight, scale = hard[latent]
        setattr(module, tensor_name, weight)
        module.register_buffer(scale_name(tensor_name), scale)
        harden_input_(module)
        info = BinarizationInfo(quantizer.pair.name, setting_of(module))
        remember(module, tensor_name, Hardened(info, quantizer.config.levels, quantizer.rows))
    return model


@torch.no_grad()
def _hard_weight(found: BinarizedWeight) -> tuple[nn.Parameter, Tensor]:
    quantizer, latent = found.quantizer, found.latent
    exact, scale = quantizer.exact_scale(latent), quantizer.hard_scale(latent)
    if not torch.isfinite(latent).all() or not torch.isfinite(exact).all():
        raise ProxConnectError(
            f"the latent weight or scale of {found.name!r} has NaN or infinite values; go back to a good "
            "checkpoint"
        )
    if not torch.isfinite(scale).all() or ((scale == 0) & (exact > 0)).any():
        raise ProxConnectError(
            f"a scale of {found.name!r} (from {exact.min():.3g} to {exact.max():.3g}) does not fit "
            f"{quantizer.config.scale_dtype}; set scale_dtype=torch.float32"
        )
    levels = projector(quantizer.config.levels)(quantizer.normalized(latent), 1.0)
    weight = levels * quantizer.rows.spread(scale.to(latent.dtype))
    if 0 in quantizer.config.levels:
        weight = weight + 0.0  # a packed zero has no sign
    return nn.Parameter(weight, requires_grad=False), scale


def hardened_weights(model: nn.Module) -> Iterator[HardenedWeight]:
    """Every hardened tensor of ``model``, in registration order."""
    for fqn, module in model.named_modules():
        for tensor_name, form in remembered(module).items():
            if scale_name(tensor_name) in module._buffers:
                yield HardenedWeight(fqn, module, tensor_name, form)


def scale_name(tensor_name: str) -> str:
    """The name of the buffer with the scales of a hardened tensor."""
    return f"{tensor_name}_scale"


def remember(module: nn.Module, tensor_name: str, form: Hardened) -> None:
    """Note in ``module.binarization`` how one of its tensors was binarized."""
    module.binarization = {**remembered(module), tensor_name: form}  # type: ignore[assignment]


def remembered(module: nn.Module) -> dict[str, Hardened]:
    """How the tensors of a hardened or packed module were binarized, by name."""
    found: dict[str, Hardened] = module.__dict__.get("binarization", {})
    return found


def binarization_of(model: nn.Module) -> BinarizationInfo | None:
    """Method and setting of a binarized, hardened or packed model; None where no layer is binarized.

    Layers of several methods or settings are named together, in alphabetical order.
    """
    found = {
        BinarizationInfo(weight.quantizer.pair.name, setting_of(weight.module))
        for weight in binarized_weights(model)
    }
    found |= {form.info for module in model.modules() for form in remembered(module).values()}
    if not found:
        return None
    methods, settings = {info.method for info in found}, {info.setting for info in found}
    return BinarizationInfo(", ".join(sorted(methods)), ", ".join(sorted(settings)))
