"""Loading of state dictionaries of float and hardened models into binarized models.

Libraries that save models under the names of float models store a latent under the name of its weight, and
the state of its quantizer beside it: see :func:`saved_name`.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from proxconnect.layers._hardened import scale_name
from proxconnect.layers._parametrization import binarized_tensors, latent_weight
from proxconnect.layers.activations import BinaryActivation


def saved_name(tensor_name: str, name: str) -> str:
    """Return the name, beside the latent of a tensor, of a tensor of its quantizer's state.

    >>> saved_name("weight", "mu")
    'weight_mu'
    """
    return f"{tensor_name}_{name}"


def read_foreign_state_(module: nn.Module) -> None:
    """Let a binarized module load the state of a float or hardened module, whose weights become the latents.

    As in :func:`proxconnect.binarize_`, ``s`` and a learned scale are then those of the loaded weight, unless
    the state has them under the names of :func:`saved_name`. Tensors that such a state does not have (``mu``,
    thresholds of a float model) stay as they are.
    """
    module.register_load_state_dict_pre_hook(_weights_to_latents)


def read_own_state_(module: nn.Module) -> None:
    """Undo :func:`read_foreign_state_`."""
    hooks = module._load_state_dict_pre_hooks
    for key in [key for key, hook in hooks.items() if getattr(hook, "hook", None) is _weights_to_latents]:
        del hooks[key]


def _weights_to_latents(module: nn.Module, state: dict[str, Any], prefix: str, *others: Any) -> None:
    for tensor_name, quantizer in binarized_tensors(module):
        where = f"{prefix}parametrizations.{tensor_name}"
        if f"{prefix}{tensor_name}" not in state or f"{where}.original" in state:
            continue
        weight = state.pop(f"{prefix}{tensor_name}")
        state.pop(f"{prefix}{scale_name(tensor_name)}", None)
        state[f"{where}.original"] = weight
        own = quantizer.state_dict()
        saved = {name: f"{prefix}{saved_name(tensor_name, name)}" for name in own}
        kept = {name: state.pop(key) for name, key in saved.items() if key in state}
        latent = latent_weight(module, tensor_name)
        if isinstance(weight, Tensor) and weight.shape == latent.shape and not weight.is_meta:
            own |= quantizer.starting_scales(weight.to(latent.dtype))
        state.update({f"{where}.0.{name}": tensor for name, tensor in (own | kept).items()})
        own_input = getattr(module, "input_quantizer", None)
        if isinstance(own_input, BinaryActivation):
            for name, tensor in own_input.state_dict().items():
                state.setdefault(f"{prefix}input_quantizer.{name}", tensor)
