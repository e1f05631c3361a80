"""Parameter groups that tell latent weights from all other parameters."""

from __future__ import annotations

from typing import Any

from torch import nn

from proxconnect.errors import ProxConnectError
from proxconnect.layers import binarized_modules, latent_weight


def param_groups(
    model: nn.Module,
    lr: float,
    *,
    weight_decay: float = 0.0,
    latent_lr: float | None = None,
    latent_weight_decay: float = 0.0,
    latent_clip: float | None = None,
) -> list[dict[str, Any]]:
    """Groups for any torch optimizer: the latent weights, and the rest.

    Args:
        model: a model with or without binarized layers.
        lr: learning rate.
        weight_decay: of all parameters but the latents.
        latent_lr: learning rate of the latents; by default ``lr``.
        latent_weight_decay: of the latents. Shrinking a latent makes its sign easier to flip.
        latent_clip: bound ``c`` of the normalised latents, ``|w*/s| <= c``, which :func:`clip_latents` keeps.

    Returns:
        One or two dictionaries; a group without parameters is left out.

    Raises:
        ProxConnectError: a negative or zero bound, or ``latent_*`` given for a model without latents.

    >>> import torch, proxconnect as pc
    >>> model = torch.nn.Sequential(*(torch.nn.Linear(8, 8) for _ in range(3)))
    >>> model = pc.binarize_(model, pc.BinarizeConfig())
    >>> [(group["name"], len(group["params"])) for group in pc.param_groups(model, lr=1e-3)]
    [('rest', 5), ('latent', 1)]
    """
    if latent_clip is not None and not latent_clip > 0:
        raise ProxConnectError(f"latent_clip must be a positive number or None, not {latent_clip!r}")
    latents = {id(latent): latent for latent in (latent_weight(m) for _, m, _ in binarized_modules(model))}
    rest = [p for p in model.parameters() if p.requires_grad and id(p) not in latents]
    if not latents and (latent_lr is not None or latent_weight_decay or latent_clip is not None):
        raise ProxConnectError("latent_* options need a model with binarized layers; call binarize_ first")
    groups = [
        {"name": "rest", "params": rest, "lr": lr, "weight_decay": weight_decay},
        {
            "name": "latent",
            "params": list(latents.values()),
            "lr": lr if latent_lr is None else latent_lr,
            "weight_decay": latent_weight_decay,
            "latent_clip": latent_clip,
        },
    ]
    return [group for group in groups if group["params"]]
