"""Parameter groups for optimizers: latent weights, and all other parameters."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from proxconnect.errors import ProxConnectError
from proxconnect.layers import binarized_weights

ADAM_LR = 2e-3
"""The peak learning rate for Adam."""
ADAM_LATENT_LR = 5e-2
"""The peak learning rate of the latents for Adam, in units of each layer's mean ``s``."""
_CLIPS = {"bnn": 1.0}


def param_groups(
    model: nn.Module,
    lr: float | None = None,
    *,
    weight_decay: float = 0.0,
    latent_lr: float | None = None,
    latent_lr_relative: bool | None = None,
    latent_weight_decay: float = 0.0,
    latent_clip: float | None = None,
) -> list[dict[str, Any]]:
    """Make the parameter groups for any torch optimizer: the latent weights, and the rest.

    Without ``lr``, all values suit Adam and AdamW, from scratch and for fine-tuning: ``lr=2e-3``,
    ``latent_lr=5e-2``, ``latent_lr_relative=True``, and ``latent_clip=1`` for the method ``bnn``, whose
    latents cannot come back from beyond it. What is given comes first. ``recipes/defaults_*.toml`` are the
    searches behind these numbers.

    Args:
        model: a model with or without binarized layers.
        lr: learning rate, a positive number; None as above.
        weight_decay: weight decay of all parameters but the latents.
        latent_lr: learning rate of the latents; by default ``lr`` if given.
        latent_lr_relative: True counts ``latent_lr`` in units of each layer's mean ``s``. This suits
            optimizers whose steps are as large as the learning rate, such as Adam: the normalised latents
            ``w*/s``, the arguments of F and B, then move at the same pace in every layer. By default
            False if ``lr`` is given.
        latent_weight_decay: weight decay of the latents. A smaller latent flips its sign more easily.
        latent_clip: bound ``c`` of the normalised latents, ``|w*/s| <= c``, which :func:`clip_latents` and
            :func:`training` keep.

    Returns:
        A dictionary for the rest, and one for the latents, or one for the latent of each binarized layer if
        ``latent_lr`` is relative. A group without parameters is left out.

    Raises:
        ProxConnectError: a learning rate or a bound is not a positive number, a weight decay is negative,
            or ``latent_*`` is given for a model without latents.

    >>> import torch, proxconnect as pc
    >>> model = torch.nn.Sequential(*(torch.nn.Linear(8, 8) for _ in range(3)))
    >>> model = pc.binarize_(model, pc.BinarizeConfig())
    >>> [(group["name"], len(group["params"])) for group in pc.param_groups(model, lr=1e-3)]
    [('rest', 5), ('latent', 1)]
    >>> optimizer = torch.optim.Adam(pc.param_groups(model))
    """
    suiting_adam = lr is None
    lr = ADAM_LR if lr is None else lr
    if not _is_number(lr) or lr == 0:
        raise ProxConnectError(f"lr must be a positive number, not {lr!r}")
    for name, value in (("latent_lr", latent_lr), ("latent_clip", latent_clip)):
        if value is not None and (not _is_number(value) or value == 0):
            raise ProxConnectError(f"{name} must be a positive number or None, not {value!r}")
    for name, value in (("weight_decay", weight_decay), ("latent_weight_decay", latent_weight_decay)):
        if not _is_number(value):
            raise ProxConnectError(f"{name} must be a number of at least 0, not {value!r}")
    weights = list(binarized_weights(model))
    layers = {id(found.latent): (found.latent, found.quantizer) for found in weights}
    rest = [p for p in model.parameters() if p.requires_grad and id(p) not in layers]
    if not layers and (latent_lr is not None or latent_weight_decay or latent_clip is not None):
        raise ProxConnectError("latent_* options need a model with binarized layers; call binarize_ first")
    groups: list[dict[str, Any]] = [{"name": "rest", "params": rest, "lr": lr, "weight_decay": weight_decay}]
    if suiting_adam:
        latent_lr = ADAM_LATENT_LR if latent_lr is None else latent_lr
        latent_lr_relative = True if latent_lr_relative is None else latent_lr_relative
        clips = [_CLIPS[w.quantizer.pair.name] for w in weights if w.quantizer.pair.name in _CLIPS]
        latent_clip = min(clips, default=None) if latent_clip is None else latent_clip
    shared = {"name": "latent", "weight_decay": latent_weight_decay, "latent_clip": latent_clip}
    latent_lr = lr if latent_lr is None else latent_lr
    if latent_lr_relative:
        for latent, quantizer in layers.values():
            pace = latent_lr * quantizer.latent_scale.mean().item()
            groups.append({**shared, "params": [latent], "lr": pace})
    else:
        groups.append({**shared, "params": [latent for latent, _ in layers.values()], "lr": latent_lr})
    return [group for group in groups if group["params"]]


def _is_number(value: object) -> bool:
    """Tell whether ``value`` is a finite number of at least 0."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf
