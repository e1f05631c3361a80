"""From a packed file into a model of the user's own."""

from __future__ import annotations

import copy

import torch
from torch import nn

from proxconnect._pack import dense_tensors, describe
from proxconnect.engine import PackedWeight, pack_layer_, packed_weight, unpack_layers_
from proxconnect.errors import FormatError
from proxconnect.format import PackedFile
from proxconnect.graph import canonical_names
from proxconnect.layers import (
    BinarizationInfo,
    binarization_of,
    binarized_modules,
    harden_input_,
    is_hardened,
    restore_plain_weight,
)


def load_into(packed: PackedFile, model: nn.Module, kernels: str) -> None:
    """Put the binary weights of ``packed`` into ``model`` as packed layers, and copy the rest, in place.

    Raises:
        FormatError: names, shapes or dtypes differ; the message has them, and the model is unchanged.
    """
    _refuse_other_setting(packed, model)
    twin = copy.deepcopy(model)
    _make_plain_(twin)
    _refuse_misfit(packed, twin)
    _make_plain_(model)
    with torch.no_grad():
        for name, (tensor, _) in dense_tensors(model, {}).items():
            if name in packed.header.dense:
                tensor.copy_(packed.dense(name))
    info = BinarizationInfo(packed.header.method, packed.header.setting)
    weights: dict[str, PackedWeight] = {}
    for name, first in canonical_names(model).items():
        if first not in packed.header.binary:
            continue
        if first not in weights:
            device = model.get_parameter(first).device
            weights[first] = packed_weight(packed, first, kernels).to(device)
        layer = model.get_submodule(name.rpartition(".")[0])
        pack_layer_(layer, weights[first])
        layer.binarization = info  # type: ignore[assignment]


def _make_plain_(model: nn.Module) -> None:
    """Binarized, hardened and packed layers become layers with a float weight, in place."""
    unpack_layers_(model)
    for _, module, _ in list(binarized_modules(model)):
        restore_plain_weight(module, keep_quantized=True)
    for module in list(model.modules()):
        harden_input_(module)
        if is_hardened(module):
            del module._buffers["weight_scale"]
        module.__dict__.pop("binarization", None)


def _refuse_other_setting(packed: PackedFile, model: nn.Module) -> None:
    """Binary activations and accumulators are in the model's layers, not in the weights of the file."""
    expected = packed.header.setting
    found = binarization_of(model)
    setting = "bw" if found is None else found.setting
    if setting != expected and not {setting, expected} <= {"bw", "fp"}:
        raise FormatError(
            f"the file is of setting {expected!r}, but the layers of {type(model).__name__} are of "
            f"{setting!r}; binarize it as when it was saved"
        )


def _refuse_misfit(packed: PackedFile, model: nn.Module) -> None:
    header = packed.header
    wanted = {name: (weight.shape, "float32", "parameter") for name, weight in header.binary.items()}
    wanted |= {name: (t.shape, t.dtype, t.role) for name, t in header.dense.items() if t.role != "constant"}
    found = {name: describe(tensor, role) for name, (tensor, role) in dense_tensors(model, {}).items()}
    missing, unexpected = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    if missing or unexpected:
        raise FormatError(
            f"the file does not fit {type(model).__name__}: the model lacks {_some(missing)} "
            f"and has {_some(unexpected)} that the file lacks; build it as when it was saved"
        )
    for name, (shape, dtype, role) in wanted.items():
        have = found[name]
        if (have.shape, have.dtype, have.role) != (shape, dtype, role):
            raise FormatError(
                f"{role} {name!r} is {dtype} {list(shape)} in the file, but {have.dtype} {list(have.shape)} "
                f"{have.role} in {type(model).__name__}"
            )
        if name in header.binary and name.rpartition(".")[2] != "weight":
            raise FormatError(f"parameter {name!r} is binary in the file, but only weights of layers can be")


def _some(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:5])) or "nothing"
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown
