"""Recalibration: BatchNorm statistics of the network that will be deployed."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from itertools import chain

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from proxconnect.errors import ProxConnectError
from proxconnect.layers.binarize import Model
from proxconnect.layers.harden import harden_


@torch.no_grad()
def recalibrate_(model: Model, batches: Iterable[Tensor], *, hardened: bool = False) -> Model:
    """Recompute every BatchNorm's running mean and variance from ``batches``, in place.

    Hardening changes the weights a little, and so the inputs of BatchNorm. The new statistics are the plain
    average over the batches. Parameters and the training mode of every module stay as they are.

    Args:
        model: a model, usually after :func:`harden_`.
        batches: input tensors of the model.
        hardened: True takes the statistics of the hardened network, which is made as a copy; the latents of
            ``model`` stay, so that training may go on. It is for a model with binarized layers.

    Raises:
        ProxConnectError: there is no batch, the model has no BatchNorm with running statistics, or a batch
            has NaN or makes a statistic that is not finite. The model is then unchanged.

    >>> import torch, proxconnect as pc
    >>> model = torch.nn.Sequential(torch.nn.BatchNorm1d(2))
    >>> _ = pc.recalibrate_(model, [torch.tensor([[1.0, 10.0], [3.0, 30.0]])])
    >>> model[0].running_mean
    tensor([ 2., 20.])
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not norms:
        raise ProxConnectError("nothing to recalibrate: the model has no BatchNorm with running statistics")
    if hardened:
        settled = dict(recalibrate_(harden_(copy.deepcopy(model)), batches).named_modules())
        for name, module in model.named_modules():
            if module in norms:
                module.load_state_dict(settled[name].state_dict())
        return model
    batches = iter(batches)
    first = next(batches, None)
    if first is None:
        raise ProxConnectError("recalibrate_ needs at least one batch, got none")
    modes = {module: module.training for module in model.modules()}
    before = {norm: (norm.momentum, copy.deepcopy(dict(norm.named_buffers()))) for norm in norms}
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the cumulative average
        norm.train()
    try:
        for number, batch in enumerate(chain([first], batches)):
            if isinstance(batch, Tensor) and batch.isnan().any():
                raise ProxConnectError(f"batch {number} (from 0) has NaN; leave out or mend such inputs")
            model(batch)
            if not all(buffer.isfinite().all() for norm in norms for buffer in norm.buffers()):
                raise ProxConnectError(
                    f"batch {number} (from 0) gives a BatchNorm statistics that are not finite; look for "
                    "infinite or very large inputs, or weights that are not finite"
                )
    except BaseException:
        for norm, (_, buffers) in before.items():
            norm.load_state_dict(buffers, strict=False)
        raise
    finally:
        for norm, (momentum, _) in before.items():
            norm.momentum = momentum
        for module, training in modes.items():
            module.training = training
    return model
