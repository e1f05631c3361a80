"""Counting of each layer's parameters, bytes and multiply-accumulates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from proxconnect.base.rows import Rows
from proxconnect.engine import Network, PackedLayer, PackedWeight
from proxconnect.format import BinaryTensor, Header, InputSpec, PackedFile, torch_dtype
from proxconnect.graph import Node, TensorName
from proxconnect.graph.graph import leaves, map_leaves
from proxconnect.layers import (
    BinaryActivation,
    BinaryInput,
    binarized_weights,
    hardened_weights,
    is_only_read,
    latent_weight,
    level_distance,
    scale_name,
    weight_names,
)
from proxconnect.summaries._binary_uses import binary_uses
from proxconnect.summaries._macs import model_macs, node_macs


@dataclass
class Counted:
    """The counts of one layer: parameters, bytes, multiply-accumulates and bits."""

    kind: str
    kernel: str = "torch"
    shape: tuple[int, ...] = ()
    bits: int = 32
    binary_parameters: int = 0
    float_parameters: int = 0
    binary_bytes: int = 0
    dense_bytes: int = 0
    dense_float32_bytes: int = 0
    macs: int | None = None
    activation_bits: int = 32
    accumulator_bits: int = 32
    skipped: str = ""
    mu: float | None = None
    level_distance: float | None = None

    def add_binary(self, form: BinaryTensor, scale_bytes: int, kernel: str, counted: bool = False) -> None:
        """Count a packed weight, unless another layer, which shares it, has ``counted`` it."""
        self.shape, self.kernel, self.bits = self.shape or form.shape, kernel, form.bits
        if counted:
            return
        self.binary_parameters += math.prod(form.shape)
        self.binary_bytes += math.prod(form.bits_shape) + scale_bytes

    def add_dense(
        self, name: str, shape: Sequence[int], dtype: torch.dtype, stored: int, parameter: bool
    ) -> None:
        """Count a tensor that is not packed and takes ``stored`` bytes."""
        count = math.prod(shape)
        self.dense_bytes += stored
        self.dense_float32_bytes += count * (4 if dtype.is_floating_point else dtype.itemsize)
        self.float_parameters += count if parameter else 0
        if name.rpartition(".")[2] == "weight" or not self.shape:
            self.shape = tuple(shape)


def of_model(model: nn.Module, inputs: Sequence[Tensor] | None) -> dict[str, Counted]:
    """Count the layers of a model, in registration order; a tensor that several layers share counts once."""
    if isinstance(model, Network):
        stored = {name: tensor.nbytes for name, tensor in _dense_of(model).items()}
        return _of_network(model, stored, inputs)
    binary = _binary_of(model)
    parametrized = {found.module for found in binarized_weights(model)}
    inside = {
        id(child) for module in parametrized for child in cast(nn.Module, module.parametrizations).modules()
    }
    counted: set[int] = set()
    layers: dict[str, Counted] = {}
    for name, module in model.named_modules():
        if isinstance(module, PackedWeight) or id(module) in inside:
            continue
        layer = Counted(type(module).__name__.removeprefix("Parametrized"))
        own = {**module._parameters, **module._buffers}
        if isinstance(module, BinaryInput) and not is_only_read(module):
            layer.activation_bits = 1
            layer.accumulator_bits = 32 if module.accumulator is None else module.accumulator.bits
        if isinstance(module, BinaryActivation):
            own = {key: tensor for key, tensor in own.items() if key not in ("mu", "mu_squared")}
        for found in binary.get(module, []):
            own.pop(found.name, None)
            own.pop(scale_name(found.name), None)
            layer.add_binary(found.form, found.scale_bytes, found.kernel, found.identity in counted)
            counted.add(found.identity)
        for key, tensor in own.items():
            if (
                tensor is not None
                and id(tensor) not in counted
                and key not in module._non_persistent_buffers_set
            ):
                counted.add(id(tensor))
                layer.add_dense(key, tensor.shape, tensor.dtype, tensor.nbytes, key in module._parameters)
        shared = [own[key] for key in weight_names(module) if own.get(key) is not None]
        if not layer.shape and shared:
            layer.shape = tuple(shared[0].shape)
        if layer.binary_bytes or layer.dense_bytes or layer.shape:
            layer.skipped = _why_not_binary(module) if layer.bits == 32 else ""
            layers[name] = layer
    for weight in binarized_weights(model):
        layer = layers[weight.fqn]
        layer.mu = weight.quantizer.mu.item()
        layer.level_distance = max(level_distance(weight), layer.level_distance or 0.0)
    if inputs is not None:
        for name, macs in model_macs(model, inputs).items():
            layers[name].macs = macs
    return layers


def of_file(
    packed: PackedFile, network: Network | None, inputs: Sequence[Tensor] | None
) -> dict[str, Counted]:
    """Count the layers of a packed file and of the network in it, if any, with their bytes in the file."""
    stored = {name: packed.tensors[name].nbytes for name in packed.header.dense}
    for name in stored:
        if f"{name}.dequant" in packed.tensors:
            stored[name] += packed.tensors[f"{name}.dequant"].nbytes
    if network is not None:
        return _of_network(network, stored, inputs)
    scales = {name: packed.tensors[f"{name}.scale"].nbytes for name in packed.header.binary}
    return _of_header(packed.header, stored, scales, dict.fromkeys(scales, "-"))


class _Binary(NamedTuple):
    """One binary tensor of a model, in any form."""

    name: str
    identity: int
    form: BinaryTensor
    scale_bytes: int
    kernel: str


def _binary_of(model: nn.Module) -> dict[nn.Module, list[_Binary]]:
    """Find the binary tensors of each module."""
    found: dict[nn.Module, list[_Binary]] = {}
    for _, module, name, quantizer in binarized_weights(model):
        latent = latent_weight(module, name)
        form = _form(quantizer.config.levels, quantizer.rows)
        tensor = _Binary(name, id(latent), form, quantizer.hard_scale(latent).nbytes, "torch")
        found.setdefault(module, []).append(tensor)
    for hard in hardened_weights(model):
        form = _form(hard.form.levels, hard.form.rows)
        tensor = _Binary(hard.tensor_name, id(hard.weight), form, hard.scale.nbytes, "torch")
        found.setdefault(hard.module, []).append(tensor)
    for module in model.modules():
        if isinstance(module, PackedLayer):
            kernel = "unpacked" if is_only_read(module) else module.kernel
            found[module] = [
                _Binary(name, id(weight), weight.form, weight.scale.nbytes, kernel)
                for name, weight in module.packed_weights().items()
            ]
    return found


def _form(levels: Sequence[float], rows: Rows) -> BinaryTensor:
    """Describe a weight with as many planes of bits as its levels need, even if no file could hold them."""
    return BinaryTensor(rows.shape, (len(levels) - 1).bit_length(), rows.group, rows.transposed)


def _why_not_binary(module: nn.Module) -> str:
    if not weight_names(module):
        return "not binarizable"
    return str(module.__dict__.get("skipped_because", ""))


def _dense_of(network: Network) -> dict[str, Tensor]:
    tensors = {**dict(network.model.named_parameters()), **dict(network.model.named_buffers())}
    return {name: tensors[name] for name in network.header.dense}


def _of_network(
    network: Network, stored: Mapping[str, int], inputs: Sequence[Tensor] | None
) -> dict[str, Counted]:
    weights = {name: cast(PackedWeight, network.model.get_submodule(name)) for name in network.header.binary}
    scales = {name: weight.scale.nbytes for name, weight in weights.items()}
    layers = _of_header(network.header, stored, scales, network.kernels)
    codes, uses = binary_uses(network.graph, weights)
    for name, use in uses.items():
        layer = layers[_owner(name)]
        layer.kind, layer.activation_bits, layer.accumulator_bits = use.kind, 1, use.accumulator_bits
    for node in network.graph.nodes:
        for leaf in leaves(node.args):
            if isinstance(leaf, TensorName) and layers[_owner(leaf.name)].kind == "-":
                layers[_owner(leaf.name)].kind = node.op.split(".")[1]
    if inputs is None:
        inputs = example(network.graph.inputs)
    if inputs is None:
        return layers
    shapes = {name: weight.shape for name, weight in network.header.binary.items()}
    shapes |= {name: tensor.shape for name, tensor in network.header.dense.items()}

    def named(leaf: Any) -> Any:
        return TensorName(codes[leaf]) if leaf in codes else leaf

    def observer(node: Node, args: Sequence[Any], output: Any) -> None:
        node = replace(node, args=map_leaves(named, node.args))
        for name, macs in node_macs(node, args, output, shapes):
            layer = layers[_owner(name)]
            layer.macs = (layer.macs or 0) + macs

    with torch.no_grad():
        network.observe(tuple(x[:1] for x in inputs), observer)
    return layers


def _of_header(
    header: Header, stored: Mapping[str, int], scales: Mapping[str, int], kernels: Mapping[str, str]
) -> dict[str, Counted]:
    layers: dict[str, Counted] = {}
    for name, weight in header.binary.items():
        layers.setdefault(_owner(name), Counted("-")).add_binary(weight, scales[name], kernels[name])
    for name, tensor in header.dense.items():
        layer = layers.setdefault(_owner(name), Counted("-"))
        layer.add_dense(
            name, tensor.shape, torch_dtype(tensor.dtype), stored[name], tensor.role == "parameter"
        )
    return dict(sorted(layers.items(), key=lambda item: _natural(item[0])))


def example(specs: Sequence[InputSpec]) -> tuple[Tensor, ...] | None:
    """Make zeros for inputs whose sizes, except the batch, are fixed; None for other inputs."""
    if any(isinstance(size, str) for spec in specs for size in spec.shape[1:]):
        return None
    return tuple(
        torch.zeros((1, *map(int, spec.shape[1:])), dtype=torch_dtype(spec.dtype), device="cpu")
        for spec in specs
    )


def _owner(name: str) -> str:
    return name.rpartition(".")[0]


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a sort key that puts layer 2 before layer 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in name.split(".")]
