"""Packing of the binarized layers of a model, in place."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

from proxconnect.base.hosts import tell_hosts
from proxconnect.engine import PackedLayer, PackedWeight, check_kernels, pack_layer_
from proxconnect.errors import ProxConnectError
from proxconnect.format import pack_weight
from proxconnect.layers import binarized_weights, harden_, hardened_weights, settle_scales_, watch_reads_
from proxconnect.packing._store import packed_form

Model = TypeVar("Model", bound=nn.Module)


def pack_(model: Model, kernels: str = "fast", activations: str | None = None) -> Model:
    """Replace the binarized layers of ``model`` by packed layers, in place, and return the model.

    The forward stays the user's own, so any control flow works. Linear layers and 1d and 2d convolutions run
    on kernels for float32 on the CPU if no gradient is needed (use ``torch.no_grad()`` if their bias or input
    requires one). Other weights, and those of a model in another dtype such as bfloat16, are unpacked to this
    dtype at each use. Layers that are not hardened yet are hardened first.

    Args:
        model: a model with binarized or hardened layers.
        kernels: ``"fast"`` or ``"reference"``, see :func:`proxconnect.load`.
        activations: None, ``"int8"`` or ``"int6"``, see :func:`proxconnect.load`.

    Raises:
        ProxConnectError: there is nothing to pack, a layer has levels that cannot be packed, or ``kernels``
            is unknown. The model is then unchanged.

    >>> import torch, proxconnect as pc
    >>> layer = torch.nn.Linear(16, 4)
    >>> layer = pc.binarize_(layer, pc.BinarizeConfig("bc"), filter_fn=lambda module, name: True)
    >>> pc.pack_(layer, kernels="reference").packed.weight.bits.shape
    torch.Size([4, 2])
    """
    check_kernels(kernels, activations)
    if not any(True for _ in (*binarized_weights(model), *hardened_weights(model))):
        raise ProxConnectError(
            "nothing to pack: the model has no binarized or hardened layer; call binarize_ first"
        )
    for found in binarized_weights(model):
        packed_form(found.name, found.quantizer.config.levels, found.quantizer.rows)
    settle_scales_(model)
    if any(True for _ in binarized_weights(model)):
        harden_(model)
    _pack_hardened(model, kernels, activations)
    tell_hosts(model)
    return model


def _pack_hardened(model: nn.Module, kernels: str, activations: str | None) -> None:
    packed: dict[int, PackedWeight] = {}
    layers: dict[nn.Module, dict[str, PackedWeight]] = {}
    for found in hardened_weights(model):
        weight = found.weight
        if id(weight) not in packed:
            form = packed_form(found.name, found.form.levels, found.form.rows)
            bits = pack_weight(weight, form).to(weight.device)
            packed[id(weight)] = PackedWeight(bits, found.scale, form, kernels, weight.dtype)
        layers.setdefault(found.module, {})[found.tensor_name] = packed[id(weight)]
    for layer, weights in layers.items():
        pack_layer_(layer, weights, activations)
    watch_reads_(model, PackedLayer)
