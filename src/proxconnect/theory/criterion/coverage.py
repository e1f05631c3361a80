"""Measure the share of a model's latents at which the theory does not apply."""

from __future__ import annotations

import torch
from torch import nn

from proxconnect.layers import binarized_weights
from proxconnect.quantizers import ForwardBackward
from proxconnect.theory.criterion.check import check
from proxconnect.theory.interval import Interval


@torch.no_grad()
def outside_exact_interval(model: nn.Module) -> dict[str, float]:
    """Measure, layer by layer, the share of latents at which the pair is not known to be exact.

    A normalised latent ``w*/s`` counts if it lies outside the largest exact interval around 0 that
    :func:`proxconnect.check` finds for the layer's pair at its present ``mu``. This is beyond
    ``|mu w*/s| = 2.39936`` for ``bnn++``, nowhere for ``bc``, and everywhere but at 0 for ``bnn+``. Each pair
    is checked once for each ``mu``, in about a second unless it declares its structure. The shares are a
    metric to log during training.

    Args:
        model: any module, on any device. Layers that are not binarized do not count.

    Returns:
        Shares in ``[0, 1]`` by the names of the binarized weights, in registration order.

    Raises:
        ProxConnectError: a layer's pair is refused by :func:`proxconnect.check`.

    >>> import proxconnect as pc
    >>> from proxconnect.theory import outside_exact_interval
    >>> layer = torch.nn.Linear(4, 1)
    >>> _ = torch.nn.init.constant_(layer.weight, 1.0)
    >>> config = pc.BinarizeConfig(method="bnn++")
    >>> model = pc.binarize_(torch.nn.Sequential(layer), config, filter_fn=lambda module, name: True)
    >>> outside_exact_interval(model)
    {'0.weight': 0.0}
    >>> layer.parametrizations.weight[0].mu.fill_(3.0)
    tensor(3.)
    >>> outside_exact_interval(model)
    {'0.weight': 1.0}
    """
    found: list[tuple[ForwardBackward, float, Interval | None]] = []
    shares = {}
    for weight in binarized_weights(model):
        quantizer = weight.quantizer
        pair, mu = quantizer.pair, float(quantizer.mu)
        known = next((entry for entry in found if entry[:2] == (pair, mu)), None)
        if known is None:
            known = pair, mu, check(pair, mu).exact_interval
            found.append(known)
        shares[weight.name] = _share_outside(quantizer.normalized(weight.whole_latent), known[2])
    return shares


def _share_outside(w: torch.Tensor, interval: Interval | None) -> float:
    if interval is None:
        return 1.0
    above = w >= interval.low if interval.low_closed else w > interval.low
    below = w <= interval.high if interval.high_closed else w < interval.high
    return 1.0 - float((above & below).double().mean())
