"""Clipping of the latent weights after every optimizer step."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from proxconnect.layers import beside, binarized_weights


def clip_latents(optimizer: Optimizer, model: nn.Module) -> RemovableHandle:
    """Clamp latents to ``abs(w*/s) <= latent_clip`` after each ``optimizer.step()``.

    The bound is the ``latent_clip`` of the latent's parameter group (see :func:`param_groups`). A group
    without that entry, or with None, is left alone. Clipping usually goes with ``bnn``, whose latents freeze
    beyond ``|mu w*/s| = 1``. It is a heuristic, and no part of a ProxConnect step.

    Args:
        optimizer: any torch optimizer of the model's latents.
        model: a model with binarized layers.

    Returns:
        A handle; ``handle.remove()`` ends the clipping.

    Source: BNN (arXiv 1602.02830), algorithm 1.

    >>> import torch, proxconnect as pc
    >>> config = pc.BinarizeConfig("bnn")
    >>> layer = pc.binarize_(torch.nn.Linear(8, 4), config, filter_fn=lambda module, name: True)
    >>> optimizer = torch.optim.SGD(pc.param_groups(layer, lr=1.0, latent_clip=1.0))
    >>> handle = pc.clip_latents(optimizer, layer)
    >>> layer(torch.randn(16, 8)).sum().backward()
    >>> optimizer.step()
    >>> quantizer = layer.parametrizations.weight[0]
    >>> bool((layer.parametrizations.weight.original.abs() <= quantizer.latent_scale).all())
    True
    """
    quantizers = {id(found.latent): found.quantizer for found in binarized_weights(model)}

    @torch.no_grad()
    def clip(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        for group in optimizer.param_groups:
            if group.get("latent_clip") is None:
                continue
            for latent in group["params"]:
                bound = beside(group["latent_clip"] * quantizers[id(latent)].latent_scale, latent)
                latent.clamp_(-bound, bound)

    return optimizer.register_step_post_hook(clip)
