"""Latent weights of a saved model: room for their state, and training that goes on with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from proxconnect.errors import FormatError
from proxconnect.integrations.transformers._places import places
from proxconnect.layers import (
    BinarizeConfig,
    BinaryActivation,
    BinaryWeight,
    binarize_,
    binarize_input_,
    binarized_weights,
    rows_of,
    saved_name,
    weight_names,
)


class EmptyLatents:
    """Layers of a model whose latents, and the state of their quantizers, are still to come.

    The latent takes the place of the layer's weight. Buffers beside it, ``weight_mu``, ``weight_mu_squared``,
    ``weight_latent_scale`` and ``weight_learned_scale``, wait for the state.

    Args:
        model: a model of transformers on the meta device.
        latents: the configurations of the latents, by the name of the weight.
        shared: the names of weights that are another weight.
        saved_from: names of the classes that the names are of; other classes may lack some of the layers.

    Raises:
        FormatError: a layer is missing or cannot be binarized.
    """

    def __init__(
        self,
        model: Any,
        latents: Mapping[str, BinarizeConfig],
        shared: Mapping[str, str],
        saved_from: Iterable[str] = (),
    ) -> None:
        again = {name: first for name, first in shared.items() if first in latents}
        self._configs = {name: latents[again.get(name, name)] for name in (*latents, *again)}
        self._shared = again
        self._places = places(model, self._configs, saved_from)
        self._state: dict[str, list[str]] = {}
        for name, (layer, tensor_name) in self._places.items():
            weight = layer._parameters.get(tensor_name)
            if tensor_name not in weight_names(layer) or weight is None:
                raise FormatError(
                    f"weight {name!r} is trained in the folder, but cannot be so in {type(layer).__name__}; "
                    "the folder is damaged"
                )
            binarize_input_(layer, self._configs[name])
            if name not in again:
                state = _empty_state(layer, weight, self._configs[name])
                self._state[name] = list(state)
                for key, tensor in state.items():
                    layer.register_buffer(saved_name(tensor_name, key), tensor)

    def binarize_(self, model: nn.Module) -> None:
        """Binarize the layers, whose weights have been loaded, and give their quantizers the loaded state.

        Raises:
            FormatError: a tensor is missing or not finite, or a scale or ``mu`` is not positive.
        """
        states: dict[str, dict[str, Tensor]] = {}
        for name, keys in self._state.items():
            if name in self._places:
                layer, tensor_name = self._places[name]
                states[name] = {key: _taken(layer, saved_name(tensor_name, key), name) for key in keys}
                _refuse_bad(states[name], name)
        inputs = {
            layer: cast(BinaryActivation, layer.input_quantizer).state_dict()
            for layer, _ in self._places.values()
            if isinstance(getattr(layer, "input_quantizer", None), BinaryActivation)
        }
        for name, first in self._shared.items():
            if name in self._places and first in self._places:
                (layer, tensor_name), (other, other_name) = self._places[name], self._places[first]
                layer._parameters[tensor_name] = other._parameters[other_name]
        chosen = {id(layer): self._configs[name] for name, (layer, _) in self._places.items()}
        training = model.training
        binarize_(
            model, {name: chosen[id(each)] for name, each in model.named_modules() if id(each) in chosen}
        )
        found = {(id(each.module), each.tensor_name): each for each in binarized_weights(model)}
        for name, state in states.items():
            layer, tensor_name = self._places[name]
            found[id(layer), tensor_name].quantizer.load_state_dict(state)
        for layer, state in inputs.items():
            cast(BinaryActivation, layer.input_quantizer).load_state_dict(state)
        model.train(training)


def _empty_state(layer: nn.Module, weight: Tensor, config: BinarizeConfig) -> dict[str, Tensor]:
    """Return the state of a quantizer on the meta device; its shapes do not depend on the levels."""
    usual = replace(config, method="bc", method_args={}, levels=(-1, 1))
    rows = rows_of(layer, weight.shape, config.group)
    return BinaryWeight(torch.empty_like(weight, device="meta"), usual, rows).state_dict()


def _taken(layer: nn.Module, key: str, name: str) -> Tensor:
    tensor = layer._buffers.pop(key)
    if tensor is None or tensor.is_meta or not getattr(tensor, "_is_hf_initialized", False):
        raise FormatError(f"the state {key!r} of the latents of {name!r} is missing")
    return tensor


def _refuse_bad(state: Mapping[str, Tensor], name: str) -> None:
    for key, tensor in state.items():
        positive = key in ("mu", "latent_scale")
        if not tensor.isfinite().all() or (positive and (tensor <= 0).any()):
            wanted = "finite and positive" if positive else "finite"
            raise FormatError(f"tensor {saved_name(name, key)!r}: values must be {wanted}")
