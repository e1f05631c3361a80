"""Loading of a packed file into a model of the user's own."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from proxconnect.base.hosts import tell_hosts
from proxconnect.engine import PackedLayer, PackedWeight, pack_layer_, packed_weight, unpack_layers_
from proxconnect.errors import FormatError
from proxconnect.format import PackedFile
from proxconnect.graph import canonical_names
from proxconnect.layers import (
    BinarizationInfo,
    Hardened,
    binarization_of,
    binarized_weights,
    harden_input_,
    hardened_weights,
    refuse_sharded,
    remember,
    restore_latents,
    rows_of,
    scale_name,
    watch_reads_,
    weight_names,
)
from proxconnect.packing._plain import compute_weights_, plain_copy, unwrapped
from proxconnect.packing._store import BITS, accumulator_of, dense_tensors, describe


def load_into(packed: PackedFile, model: nn.Module, kernels: str, activations: str | None = None) -> None:
    """Put the binary weights of ``packed`` into ``model`` as packed layers, and copy the rest, in place.

    Raises:
        FormatError: names, shapes or dtypes differ; the message names them, and the model is unchanged.
    """
    refuse_sharded(model, "load the file before the model is sharded")
    model = unwrapped(model)
    _refuse_other_setting(packed, model)
    twin = plain_copy(model)
    _make_plain_(twin)
    _refuse_misfit(packed, twin)
    _refuse_unfilled(twin)
    _make_plain_(model)
    _materialize_(model)
    with torch.no_grad():
        for name, (tensor, _) in dense_tensors(model, {}).items():
            if name in packed.header.dense:
                tensor.copy_(packed.dense(name))
    info = BinarizationInfo(packed.header.method, packed.header.setting)
    weights: dict[str, PackedWeight] = {}
    layers: dict[nn.Module, dict[str, PackedWeight]] = {}
    for name, first in canonical_names(model).items():
        if first not in packed.header.binary:
            continue
        if first not in weights:
            device = model.get_parameter(first).device
            weights[first] = packed_weight(packed, first, kernels).to(device)
        layer, tensor_name = _place(model, name)
        layers.setdefault(layer, {})[tensor_name] = weights[first]
        form = weights[first].form
        levels = next(levels for levels, bits in BITS.items() if bits == form.bits)
        remember(layer, tensor_name, Hardened(info, levels, form.rows))
    for layer, found in layers.items():
        pack_layer_(layer, found, activations)
    watch_reads_(model, PackedLayer)
    tell_hosts(model)


def _place(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    """Return the module of a tensor, and the name of the tensor in the module."""
    owner, _, tensor_name = name.rpartition(".")
    return model.get_submodule(owner), tensor_name


def _make_plain_(model: nn.Module) -> None:
    """Turn binarized, hardened, packed and normed layers into layers with a float weight, in place."""
    unpack_layers_(model)
    for module in {found.module for found in binarized_weights(model)}:
        restore_latents(module)
    for found in list(hardened_weights(model)):
        del found.module._buffers[scale_name(found.tensor_name)]
    for module in list(model.modules()):
        harden_input_(module)
        module.__dict__.pop("binarization", None)
    compute_weights_(model)


def _refuse_unfilled(model: nn.Module) -> None:
    """Refuse buffers without values that are not in the file either."""
    stored = model.state_dict().keys()
    for name, buffer in model.named_buffers():
        if buffer.is_meta and name not in stored:
            raise FormatError(
                f"buffer {name!r} of {type(model).__name__} is on the meta device, and the file has no "
                "non-persistent buffers: build the model outside torch.device('meta'), or set it first"
            )


def _materialize_(model: nn.Module) -> None:
    """Give tensors on the meta device memory on the CPU, in place; shared tensors stay shared."""
    made: dict[int, Tensor] = {}
    for module in model.modules():
        for name, tensor in [*module._parameters.items(), *module._buffers.items()]:
            if tensor is None or not tensor.is_meta:
                continue
            if id(tensor) not in made:
                empty = torch.empty_like(tensor, device="cpu")
                trained = isinstance(tensor, nn.Parameter)
                made[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if trained else empty
            setattr(module, name, made[id(tensor)])


def _refuse_other_setting(packed: PackedFile, model: nn.Module) -> None:
    """Refuse a model of another setting: its layers have the binary activations and accumulators."""
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
        if name in header.binary:
            layer, tensor_name = _place(model, name)
            fits = tensor_name in weight_names(layer)
            if not fits or rows_of(layer, shape).transposed != header.binary[name].transposed:
                raise FormatError(
                    f"parameter {name!r} is binary in the file, but cannot be so in {layer}; "
                    "build the model as when it was saved"
                )
            sums, stored = accumulator_of(layer), header.binary[name].accumulator
            if stored is not None and sums != stored:
                raise FormatError(
                    f"the accumulators of {name!r} are {stored!r} in the file, but {sums!r} in the model; "
                    "binarize it as when it was saved"
                )


def _some(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:5])) or "nothing"
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown
