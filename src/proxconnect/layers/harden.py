"""Hardening, which turns latent weights into weights that are exactly a level times a scale."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from proxconnect.base.notice import notice
from proxconnect.base.rows import Rows
from proxconnect.errors import ProxConnectError
from proxconnect.layers._attachment import restore_latents
from proxconnect.layers._hardened import (
    BinarizationInfo,
    Hardened,
    HardenedWeight,
    hardened_weights,
    remember,
    remembered,
    scale_name,
)
from proxconnect.layers._parametrization import BinarizedWeight, binarized_weights
from proxconnect.layers._scales import (
    BINARY,
    exact_scale,
    is_level_times,
    least_squares_scale,
    mean_scale,
)
from proxconnect.layers._sharpness import Sharp
from proxconnect.layers.binarize import Model
from proxconnect.layers.binary_input import harden_input_, setting_of
from proxconnect.layers.distance import warn_if_far
from proxconnect.quantizers import projector


class _Hard(NamedTuple):
    weight: nn.Parameter
    scale: Tensor


def harden_(model: Model) -> Model:
    """Replace every latent weight by ``alpha P_Q(w*/s)``, in place, and return the model.

    ``P_Q`` takes the nearest level, for ``Q = {-1, 1}`` the sign. ``alpha`` is rounded to the configuration's
    ``scale_dtype`` and kept in the buffer ``weight_scale`` beside the weight (``in_proj_weight_scale`` beside
    ``in_proj_weight``, and so on). The latent weights are gone afterwards: the model holds only what will be
    packed. Binary activations become exactly ``sign(x - t)``, which passes no gradient.

    A weight that is hardened already stays as it is if it is levels times scales. If a BatchNorm was folded
    into it, its scales become the present ones (in float32 if their dtype does not hold them). A hardened
    weight that is no longer levels times scales is projected again.

    Warns where weights or binary activations of a trained model are still far from their levels, because the
    sharpness ``mu`` did not grow: the hardened network then computes something else.

    Raises:
        ProxConnectError: the model has neither a binarized nor a hardened layer, a latent weight or learned
            scale is not finite, or a scale does not fit ``scale_dtype``. The model is then unchanged.

    >>> import torch, proxconnect as pc
    >>> layer = pc.binarize_(torch.nn.Linear(8, 4), pc.BinarizeConfig(), filter_fn=lambda module, name: True)
    >>> layer = pc.harden_(layer)
    >>> torch.equal(layer.weight.abs(), layer.weight_scale.float().expand(4, 8))
    True
    """
    found = list(binarized_weights(model))
    hardened = list(hardened_weights(model))
    if not found and not hardened:
        raise ProxConnectError("nothing to harden: the model has no binarized layer; call binarize_ first")
    hard: dict[int, _Hard] = {}
    latents = [id(weight.latent) for weight in found]
    for latent, binarized in zip(latents, found, strict=True):
        if latent not in hard:  # tied weights stay tied
            hard[latent] = _hard_weight(binarized)
    for again in hardened:
        if id(again.weight) not in hard:
            hard[id(again.weight)] = _hard_again(again)
    _notice_averaged_mu(model)
    warn_if_far(model)
    for again in hardened:
        _put(again.module, again.tensor_name, hard[id(again.weight)])
    for module in {id(weight.module): weight.module for weight in found}.values():
        restore_latents(module)
    for latent, (_, module, tensor_name, quantizer) in zip(latents, found, strict=True):
        _put(module, tensor_name, hard[latent])
        harden_input_(module)
        info = BinarizationInfo(quantizer.pair.name, setting_of(module))
        remember(module, tensor_name, Hardened(info, quantizer.config.levels, quantizer.rows))
    return model


def _notice_averaged_mu(model: nn.Module) -> None:
    """Warn if the model computed with an average of the sharpnesses of training."""
    averaged = [(name, module) for name, module in model.named_modules() if isinstance(module, Sharp)]
    averaged = [(name, module) for name, module in averaged if module.has_averaged_mu()]
    if averaged:
        name, module = averaged[0]
        layer = name.partition(".parametrizations")[0].removesuffix(".input_quantizer")
        notice(
            f"the sharpness mu of layer {layer!r} is {module.mu.item():.3g}, which no schedule has set, as "
            "where the buffers of a model are averaged: until now it computed with that, and so not as it "
            "does hardened. Before you evaluate it, give it the mu of the model that it follows: "
            "pc.MuSchedule(averaged, 'constant', start=schedule.mu)"
        )


def settle_scales_(model: nn.Module) -> None:
    """Update the stored scales of hardened weights to their present scales, in place.

    Raises:
        ProxConnectError: a hardened weight is no longer levels times scales. The model is then unchanged.
    """
    settled = [(found, present_scale(found)) for found in hardened_weights(model)]
    for found, scale in settled:
        if scale is None:
            raise ProxConnectError(
                f"the hardened weight {found.name!r} is no longer a level times its scale: it was changed; "
                "project it with harden_ before it is packed, or with binarize_ to train it further"
            )
    for found, scale in settled:
        found.module.register_buffer(scale_name(found.tensor_name), scale)


@torch.no_grad()
def present_scale(found: HardenedWeight) -> Tensor | None:
    """Compute the present scales of a hardened weight; None if it is no longer levels times scales.

    They are the stored scales, in their dtype, unless the weight has changed.
    """
    weight, levels, rows = found.weight.detach(), found.form.levels, found.form.rows
    if is_level_times(weight, found.scale, levels, rows):
        return found.scale
    for shape in (found.scale.shape, *rows.scale_shapes):  # folding may give channels scales of their own
        scale, exact = exact_scale(weight, levels, rows, shape, found.scale.dtype)
        if exact.all():
            for dtype in (found.scale.dtype, torch.float32):
                if torch.equal(scale.to(dtype).to(scale.dtype), scale):
                    return scale.to(dtype)
    return None


def _put(module: nn.Module, tensor_name: str, hard: _Hard) -> None:
    setattr(module, tensor_name, hard.weight)
    module.register_buffer(scale_name(tensor_name), hard.scale)


def _hard_weight(found: BinarizedWeight) -> _Hard:
    quantizer, latent = found.quantizer, found.latent.detach()
    alpha, config = quantizer.exact_scale(latent).detach(), quantizer.config
    return _projected(
        found.name, latent, quantizer.latent_scale, alpha, config.levels, quantizer.rows, config.scale_dtype
    )


def _hard_again(found: HardenedWeight) -> _Hard:
    scale = present_scale(found)
    if scale is not None:
        return _Hard(found.weight, scale)
    weight, levels, rows = found.weight.detach(), found.form.levels, found.form.rows
    shape, stored = found.scale.shape, found.scale.dtype
    mean = mean_scale(weight, rows, shape)
    spread = rows.spread(mean.where(mean > 0, 1))
    alpha = mean if levels == BINARY else least_squares_scale(weight, spread, levels, rows, shape)
    return _projected(found.name, weight, spread, alpha, levels, rows, stored)


@torch.no_grad()
def _projected(
    name: str,
    latent: Tensor,
    s: Tensor,
    alpha: Tensor,
    levels: tuple[float, ...],
    rows: Rows,
    stored: torch.dtype,
) -> _Hard:
    """Compute ``alpha P_Q(w*/s)`` with the stored ``alpha``, and return ``alpha`` too."""
    scale = alpha.to(stored)
    if not torch.isfinite(latent).all() or not torch.isfinite(alpha).all():
        raise ProxConnectError(
            f"the latent weight or scale of {name!r} has NaN or infinite values; go back to a good checkpoint"
        )
    if not torch.isfinite(scale).all() or ((scale == 0) & (alpha > 0)).any():
        raise ProxConnectError(
            f"a scale of {name!r} (from {alpha.min():.3g} to {alpha.max():.3g}) does not fit {stored}; "
            "set scale_dtype=torch.float32"
        )
    weight = projector(levels)(latent / s, 1.0) * rows.spread(scale.to(latent.dtype))
    if 0 in levels:
        weight = weight + 0.0  # a packed zero has no sign
    return _Hard(nn.Parameter(weight, requires_grad=False), scale)


def binarization_of(model: nn.Module) -> BinarizationInfo | None:
    """Find method and setting of a binarized, hardened or packed model; None if no layer is binarized.

    Layers of several methods or settings are named together, in alphabetical order.

    >>> import proxconnect as pc
    >>> layer = pc.binarize_(nn.Linear(4, 2), pc.BinarizeConfig("bnn++"), lambda module, name: True)
    >>> binarization_of(layer)
    BinarizationInfo(method='bnn++', setting='bw')
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
