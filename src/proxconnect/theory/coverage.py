"""How many latents of a model the theory covers."""

from __future__ import annotations

import torch
from torch import nn

from proxconnect.layers import binarized_modules, latent_weight
from proxconnect.quantizers import ForwardBackward
from proxconnect.theory.check import check
from proxconnect.theory.verdict import Interval


@torch.no_grad()
def outside_exact_interval(model: nn.Module) -> dict[str, float]:
    """The share of latents at which a layer's pair is not known to be exact: a metric for training to log.

    Of each binarized layer, the share of normalised latents ``w*/s`` outside the largest exact interval
    around 0 that :func:`proxconnect.check` finds for the layer's pair at its present ``mu``: beyond
    ``|mu w*/s| = 2.39936`` for ``bnn++``, nowhere for ``bc``, everywhere but at 0 for ``bnn+``. Each pair
    is checked once for each ``mu``: at once where it declares its structure, else in about a second.

    Args:
        model: any module, on any device; layers that are not binarized are passed over.

    Returns:
        Shares in ``[0, 1]`` by the layers' names, in registration order.

    Raises:
        ProxConnectError: a layer's pair is refused by :func:`proxconnect.check`.

    >>> import proxconnect as pc
    >>> from proxconnect.theory import outside_exact_interval
    >>> layer = torch.nn.Linear(4, 1)
    >>> _ = torch.nn.init.constant_(layer.weight, 1.0)
    >>> config = pc.BinarizeConfig(method="bnn++")
    >>> model = pc.binarize_(torch.nn.Sequential(layer), config, filter_fn=lambda module, name: True)
    >>> outside_exact_interval(model)
    {'0': 0.0}
    >>> layer.parametrizations.weight[0].mu.fill_(3.0)
    tensor(3.)
    >>> outside_exact_interval(model)
    {'0': 1.0}
    """
    found: list[tuple[ForwardBackward, float, Interval | None]] = []
    shares = {}
    for name, module, quantizer in binarized_modules(model):
        pair, mu = quantizer.pair, float(quantizer.mu)
        known = next((entry for entry in found if entry[:2] == (pair, mu)), None)
        if known is None:
            known = pair, mu, check(pair, mu).exact_interval
            found.append(known)
        shares[name] = _share_outside(quantizer.normalized(latent_weight(module)), known[2])
    return shares


def _share_outside(w: torch.Tensor, interval: Interval | None) -> float:
    if interval is None:
        return 1.0
    above = w >= interval.low if interval.low_closed else w > interval.low
    below = w <= interval.high if interval.high_closed else w < interval.high
    return 1.0 - float((above & below).double().mean())
