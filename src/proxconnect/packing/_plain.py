"""The plain model inside of the wrappers of a training loop."""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from proxconnect.errors import ProxConnectError
from proxconnect.layers import give_own_class

# By the class of a wrapper, the attribute that holds the model inside. Names, because importing the classes
# takes as long as all of torch.
_WRAPPERS = {
    "DistributedDataParallel": "module",
    "DataParallel": "module",
    "OptimizedModule": "_orig_mod",
}


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the model inside of DistributedDataParallel, DataParallel and the result of torch.compile.

    >>> layer = nn.Linear(2, 2)
    >>> unwrapped(nn.DataParallel(layer)) is layer
    True
    """
    while attribute := next((_WRAPPERS[name] for name in _bases(model) if name in _WRAPPERS), None):
        model = cast(nn.Module, getattr(model, attribute))
    return model


def plain_copy(model: nn.Module) -> nn.Module:
    """Copy the model inside of the wrappers around it.

    Raises:
        ProxConnectError: the model cannot be copied.
    """
    # Weights that a hook computes in each forward are no leaves of autograd, and deepcopy refuses them.
    computed = {
        id(value): value.detach().clone()
        for module in model.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
    try:
        twin = copy.deepcopy(unwrapped(model), cast(dict[int, Any], computed))
    except Exception as error:  # the classes of the user's own modules may raise anything
        raise ProxConnectError(f"the model cannot be copied with copy.deepcopy: {error}") from None
    return twin


def unwrap_parts_(model: nn.Module) -> None:
    """Replace every wrapped part of ``model`` by the module inside of the wrapper, in place."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            setattr(module, name, unwrapped(child))


def compute_weights_(model: nn.Module) -> None:
    """Replace the tensors from which a weight is computed in each forward by the weight, in place.

    This applies to parametrizations, both forms of ``weight_norm`` and ``spectral_norm``, and pruned weights.
    """
    with torch.no_grad():
        for module in list(model.modules()):
            for hook in list(module._forward_pre_hooks.values()):
                if isinstance(hook, WeightNorm):
                    remove_weight_norm(module, hook.name)
                elif isinstance(hook, SpectralNorm):
                    remove_spectral_norm(module, hook.name)
                elif isinstance(hook, prune.BasePruningMethod):
                    prune.remove(module, hook._tensor_name)
            if parametrize.is_parametrized(module):
                give_own_class(module)
                for name, chain in list(cast(nn.ModuleDict, module.parametrizations).items()):
                    is_parameter = any(True for _ in chain.parameters(recurse=False))
                    parametrize.remove_parametrizations(module, name, leave_parametrized=True)
                    if is_parameter and name in module._buffers:  # torch keeps no Parameter without gradient
                        value = cast(Tensor, module._buffers.pop(name))
                        module.register_parameter(name, nn.Parameter(value))


def _bases(item: object) -> set[str]:
    return {base.__name__ for base in type(item).__mro__}
