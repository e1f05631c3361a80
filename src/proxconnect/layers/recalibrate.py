"""BatchNorm statistics of the network as it will be deployed."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from proxconnect.errors import ProxConnectError
from proxconnect.layers.binarize import Model


@torch.no_grad()
def recalibrate_(model: Model, batches: Iterable[Tensor]) -> Model:
    """Recompute every BatchNorm's running mean and variance from ``batches``, in place.

    Hardening changes the weights a little, and with them what BatchNorm sees. The new statistics are the
    plain average over the batches; parameters and the training mode of every module stay as they are.

    Args:
        model: a model, usually after :func:`harden_`.
        batches: input tensors, as the model takes them.

    Raises:
        ProxConnectError: there is no batch, or the model has no BatchNorm with running statistics.

    >>> import torch, proxconnect as pc
    >>> model = torch.nn.Sequential(torch.nn.BatchNorm1d(2))
    >>> _ = pc.recalibrate_(model, [torch.tensor([[1.0, 10.0], [3.0, 30.0]])])
    >>> model[0].running_mean
    tensor([ 2., 20.])
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not norms:
        raise ProxConnectError("nothing to recalibrate: the model has no BatchNorm with running statistics")
    batches = iter(batches)
    first = next(batches, None)
    if first is None:
        raise ProxConnectError("recalibrate_ needs at least one batch, got none")
    modes = {module: module.training for module in model.modules()}
    momenta = {norm: norm.momentum for norm in norms}
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the cumulative average
        norm.train()
    try:
        model(first)
        for batch in batches:
            model(batch)
    finally:
        for norm, momentum in momenta.items():
            norm.momentum = momentum
        for module, training in modes.items():
            module.training = training
    return model
