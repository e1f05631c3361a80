"""Checks that a tensor of a layer can become a latent weight, with the way out if it cannot."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize, prune

from proxconnect.errors import ProxConnectError
from proxconnect.layers._hardened import remembered
from proxconnect.layers._parametrization import binary_weight
from proxconnect.layers._sharded import gathered

# Hooks of torch that compute a layer's weight before each forward, by the name of their class.
_HOOKS = {
    "WeightNorm": ("weight norm", "torch.nn.utils.remove_weight_norm(layer, {name!r})"),
    "SpectralNorm": ("spectral norm", "torch.nn.utils.remove_spectral_norm(layer, {name!r})"),
}
# Names, because importing the classes takes as long as all of torch.
_SHARDED = {"FullyShardedDataParallel", "FSDPModule", "DTensor"}


def other_form(module: nn.Module, tensor_name: str) -> tuple[str, str] | None:
    """Describe a tensor of ``module`` that is no plain float parameter, and the way out; None if it is one.

    >>> other_form(prune.l1_unstructured(nn.Linear(4, 4), "weight", 0.5), "weight")
    ('pruned', "torch.nn.utils.prune.remove(layer, 'weight')")
    """
    if parametrize.is_parametrized(module, tensor_name):
        if binary_weight(module, tensor_name) is not None:
            return None
        kinds = [type(part).__name__.strip("_") for part in module.parametrizations[tensor_name]]  # type: ignore[index]
        what = ", ".join(_HOOKS[kind][0] if kind in _HOOKS else kind for kind in kinds)
        return what, f"torch.nn.utils.parametrize.remove_parametrizations(layer, {tensor_name!r})"
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, prune.BasePruningMethod) and hook._tensor_name == tensor_name:
            return "pruned", f"torch.nn.utils.prune.remove(layer, {tensor_name!r})"
        kind = type(hook).__name__
        if kind in _HOOKS and getattr(hook, "name", None) == tensor_name:
            what, way_out = _HOOKS[kind]
            return what, way_out.format(name=tensor_name)
    return None


def is_float_parameter(module: nn.Module, tensor_name: str) -> bool:
    """Tell whether the tensor is a parameter of a floating-point dtype, lazy ones included."""
    weight = module._parameters.get(tensor_name)
    return weight is not None and (is_lazy(weight) or weight.is_floating_point())


def fit_weight(name: str, module: nn.Module, tensor_name: str) -> Tensor:
    """Return the whole of a tensor that becomes latents; refuse a layer called ``name`` if it cannot."""
    if binary_weight(module, tensor_name) is not None:
        raise ProxConnectError(
            f"layer {name!r} is binarized already; to binarize it otherwise, call harden_ first"
        )
    if tensor_name in remembered(module) and tensor_name not in module._parameters:
        raise ProxConnectError(f"layer {name!r} is packed; binarize the hardened model that it came from")
    where = f"the {tensor_name} of layer {name!r}"
    form = other_form(module, tensor_name)
    if form is not None:
        raise ProxConnectError(f"{where} is not a plain parameter ({form[0]}): call {form[1]}, then binarize")
    weight: Tensor = getattr(module, tensor_name)
    if not is_float_parameter(module, tensor_name):
        kind = f"{type(weight).__name__}, {weight.dtype}"
        raise ProxConnectError(f"{where} must be a float parameter, not {kind}")
    if is_lazy(weight):
        raise ProxConnectError(f"{where} is a lazy one: call the model once, then binarize")
    weight = gathered(weight.detach())
    why = _without_values(weight)
    if why is not None:
        raise ProxConnectError(f"{where} {why}")
    if weight.numel() == 0:
        raise ProxConnectError(f"{where} has no elements, but the shape {tuple(weight.shape)}; leave it out")
    if not torch.isfinite(weight).all():
        raise ProxConnectError(f"{where} has NaN or infinite values; mend the model first")
    return weight


def refuse_sharded(model: nn.Module, way_out: str, known: Collection[int] = ()) -> None:
    """Refuse a model if this process holds only parts of its weights.

    Args:
        model: any module.
        way_out: what to do instead, for the message.
        known: ids of modules and parameters that may be in parts.
    """
    for name, item in (*model.named_modules(), *model.named_parameters()):
        if id(item) in known:
            continue
        if sharded := _SHARDED & {base.__name__ for base in type(item).__mro__}:
            where = f"{name!r} of the model" if name else "the model"
            raise ProxConnectError(
                f"the weights of {where} lie in parts in several processes ({sharded.pop()}): {way_out}"
            )


def _without_values(weight: Tensor) -> str | None:
    kind = type(weight.data).__name__
    if kind == "FakeTensor":
        return "is a FakeTensor, which has no values: call binarize_ outside FakeTensorMode"
    if type(weight.data) is not Tensor:
        return f"is a {kind}, not a plain tensor; binarize the model before it is converted"
    if weight.is_meta:
        return (
            "is on the meta device, without values: load the model's weights first "
            "(model.to_empty(device='cpu'), model.load_state_dict(...)), then binarize"
        )
    return None
