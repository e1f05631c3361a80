"""Turn the layers of a model into 1-bit layers, in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn
from torch.nn.utils import parametrize

from proxconnect.errors import ProxConnectError
from proxconnect.layers._parametrization import BinaryWeight, binary_weight
from proxconnect.layers.binary_input import binarize_input_, refuse_unfit_for_binary_input
from proxconnect.layers.config import BinarizeConfig

BINARIZABLE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
Filter = Callable[[nn.Module, str], bool]
Model = TypeVar("Model", bound=nn.Module)


def binarize_(model: Model, config: BinarizeConfig, filter_fn: Filter | None = None) -> Model:
    """Binarize the weights, and if ``config`` says so the activations, of ``model`` in place and return it.

    Each chosen layer gets a :mod:`torch.nn.utils.parametrize` parametrization: ``module.weight`` *is* the
    quantized weight ``alpha F(w*/s)``; the latent ``w*`` is ``module.parametrizations.weight.original``. With
    binary activations, the submodule ``input_quantizer`` of each chosen ``Linear`` and ``Conv1d/2d/3d`` makes
    its input -1 and +1; other layers keep their activations.

    Args:
        model: any module with ``Linear`` or ``Conv1d/2d/3d`` layers.
        config: method, scale and so on.
        filter_fn: ``filter_fn(module, fqn) -> bool`` chooses among those layers; by default all but the first
            and the last in registration order.

    Raises:
        ProxConnectError: nothing is chosen, a chosen layer is binarized already, its weight is not a finite
            float tensor, or its class cannot take binary activations. The model is then unchanged.

    >>> import torch, proxconnect as pc
    >>> model = torch.nn.Sequential(*(torch.nn.Linear(8, 8) for _ in range(3)))
    >>> model = pc.binarize_(model, pc.BinarizeConfig(method="bc"))
    >>> model[1].weight[0].unique().numel()
    2
    """
    if not isinstance(config, BinarizeConfig):
        raise ProxConnectError(f"config must be a BinarizeConfig, not {config!r}")
    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, BINARIZABLE)]
    if filter_fn is None:
        chosen = layers[1:-1]
    else:
        chosen = [(name, module) for name, module in layers if filter_fn(module, name)]
    if not chosen:
        rule = (
            "the default leaves out the first and the last" if filter_fn is None else "filter_fn chose none"
        )
        raise ProxConnectError(
            f"nothing to binarize: the model has {len(layers)} Linear and Conv layers and {rule}; "
            "pass a filter_fn that chooses some"
        )
    for name, module in chosen:
        _refuse_unfit(name, module)
        if config.activations is not None:
            refuse_unfit_for_binary_input(name, module)
    for _, module in chosen:
        binarize_input_(module, config)
        weight = module.weight
        parametrize.register_parametrization(module, "weight", BinaryWeight(weight, config), unsafe=True)
    return model


def _refuse_unfit(name: str, module: nn.Module) -> None:
    if binary_weight(module) is not None or "weight_scale" in module._buffers:
        raise ProxConnectError(f"layer {name!r} is binarized already; binarize a model once")
    weight = module.weight
    if not isinstance(weight, nn.Parameter) or not weight.is_floating_point():
        raise ProxConnectError(
            f"the weight of layer {name!r} must be a float parameter, not {type(weight).__name__}"
        )
    if not torch.isfinite(weight).all():
        raise ProxConnectError(
            f"the weight of layer {name!r} has NaN or infinite values; mend the model first"
        )
