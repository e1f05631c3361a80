"""What :mod:`proxconnect.summary` tabulates: each layer's parameters, bytes and multiply-accumulates."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from proxconnect import format as packed_format
from proxconnect.engine import Network, PackedLayer, PackedWeight
from proxconnect.format import Header, InputSpec, torch_dtype
from proxconnect.format.bits import packed_width
from proxconnect.graph import Graph, Node, TensorName, Value
from proxconnect.graph.graph import leaves
from proxconnect.layers import (
    BINARIZABLE,
    BinaryActivation,
    BinaryInput,
    BinaryWeight,
    binarized_modules,
    is_hardened,
    latent_weight,
)

_CODES = "aten.sign.default"  # of a binary weight: what a layer with binary input multiplies by
_WITH_MACS = ("linear", "conv1d", "conv2d", "conv3d")


@dataclass
class Counted:
    """What one layer has."""

    kind: str
    kernel: str = "torch"
    shape: tuple[int, ...] = ()
    binary_parameters: int = 0
    float_parameters: int = 0
    binary_bytes: int = 0
    dense_bytes: int = 0
    dense_float32_bytes: int = 0
    macs: int | None = None
    activation_bits: int = 32
    accumulator_bits: int = 32

    def add_binary(self, shape: Sequence[int], scale_bytes: int, kernel: str) -> None:
        """Count a packed weight."""
        self.shape, self.kernel = tuple(shape), kernel
        self.binary_parameters += math.prod(shape)
        self.binary_bytes += shape[0] * packed_width(math.prod(shape[1:])) + scale_bytes

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
    """Layers of a model in registration order, by name; a tensor that several share counts once."""
    if isinstance(model, Network):
        stored = {name: tensor.nbytes for name, tensor in _dense_of(model).items()}
        return _of_network(model, stored, inputs)
    quantizers = {module: quantizer for _, module, quantizer in binarized_modules(model)}
    inside = {
        id(child) for module in quantizers for child in cast(nn.Module, module.parametrizations).modules()
    }
    seen: set[int] = set()
    layers: dict[str, Counted] = {}
    for name, module in model.named_modules():
        if isinstance(module, PackedWeight) or id(module) in inside:
            continue
        layer = Counted(type(module).__name__.removeprefix("Parametrized"))
        own = {**module._parameters, **module._buffers}
        if isinstance(module, BinaryInput):
            layer.activation_bits = 1
            layer.accumulator_bits = 32 if module.accumulator is None else module.accumulator.bits
        if isinstance(module, BinaryActivation):
            own.pop("mu")
        if isinstance(module, PackedLayer):
            if id(module.packed) not in seen:
                layer.add_binary(module.packed.shape, module.packed.scale.nbytes, module.packed.kernels)
            seen.add(id(module.packed))
        elif module in quantizers or is_hardened(module):
            own.pop("weight", None)
            own.pop("weight_scale", None)
            weight, scale = _binary_weight(module, quantizers.get(module))
            if id(weight) not in seen:
                layer.add_binary(weight.shape, scale.nbytes, "float32")
            seen.add(id(weight))
        for key, tensor in own.items():
            if (
                tensor is not None
                and id(tensor) not in seen
                and key not in module._non_persistent_buffers_set
            ):
                seen.add(id(tensor))
                layer.add_dense(key, tensor.shape, tensor.dtype, tensor.nbytes, key in module._parameters)
        if layer.binary_bytes or layer.dense_bytes:
            layers[name] = layer
    if inputs is not None:
        for name, macs in _model_macs(model, inputs).items():
            layers[name].macs = macs
    return layers


def of_file(path: Path, inputs: Sequence[Tensor] | None) -> dict[str, Counted]:
    """Layers of a packed file by name, with the bytes that they take there."""
    packed = packed_format.read(path)
    stored = {name: packed.tensors[name].nbytes for name in packed.header.dense}
    for name in stored:
        if f"{name}.dequant" in packed.tensors:
            stored[name] += packed.tensors[f"{name}.dequant"].nbytes
    if packed.header.graph is not None:
        return _of_network(Network(packed), stored, inputs)
    scales = {name: packed.tensors[f"{name}.scale"].nbytes for name in packed.header.binary}
    return _of_header(packed.header, stored, scales, "fast")


def _binary_weight(module: nn.Module, quantizer: BinaryWeight | None) -> tuple[Tensor, Tensor]:
    if quantizer is None:
        return cast(Tensor, module.weight), cast(Tensor, module.weight_scale)
    latent = latent_weight(module)
    return latent, quantizer.hard_scale(latent)


def _model_macs(model: nn.Module, inputs: Sequence[Tensor]) -> dict[str, int]:
    macs: dict[str, int] = {}
    twin = copy.deepcopy(model).eval()  # a forward in training mode would move BatchNorm's statistics

    def hook(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def count(module: nn.Module, args: Any, output: Tensor) -> None:
            macs[name] = macs.get(name, 0) + _macs(cast(Tensor, module.weight).shape, output)

        return count

    for name, module in twin.named_modules():
        if isinstance(module, BINARIZABLE):
            module.register_forward_hook(hook(name))
    with torch.no_grad():
        twin(*(x[:1] for x in inputs))
    return macs


def _macs(weight: Sequence[int], output: Tensor) -> int:
    """Multiply-accumulates of a linear or convolution layer: one dot product for each output."""
    return output.numel() * math.prod(weight[1:])


def _dense_of(network: Network) -> dict[str, Tensor]:
    tensors = {**dict(network.model.named_parameters()), **dict(network.model.named_buffers())}
    return {name: tensors[name] for name in network.header.dense}


def _of_network(
    network: Network, stored: Mapping[str, int], inputs: Sequence[Tensor] | None
) -> dict[str, Counted]:
    weights = {name: cast(PackedWeight, network.model.get_submodule(name)) for name in network.header.binary}
    scales = {name: weight.scale.nbytes for name, weight in weights.items()}
    kernels = next((weight.kernels for weight in weights.values()), "fast")
    layers = _of_header(network.header, stored, scales, kernels)
    codes = _describe_binary_inputs(network.graph, weights, layers)
    for node in network.graph.nodes:
        for leaf in leaves(node.args):
            if isinstance(leaf, TensorName) and layers[_owner(leaf.name)].kind == "-":
                layers[_owner(leaf.name)].kind = node.op.split(".")[1]
    if inputs is None:
        inputs = _example(network.graph.inputs)
    if inputs is None:
        return layers
    shapes = {name: weight.shape for name, weight in network.header.binary.items()}
    shapes |= {name: tensor.shape for name, tensor in network.header.dense.items()}

    names = codes | {TensorName(name): name for name in shapes}

    def observer(node: Node, args: Sequence[Any], output: Any) -> None:
        match node:
            case Node(op=op, args=(_, weight, *_)) if weight in names and op.split(".")[1] in _WITH_MACS:
                layer = layers[_owner(names[weight])]
                layer.macs = (layer.macs or 0) + _macs(shapes[names[weight]], output)

    with torch.no_grad():
        network.observe(tuple(x[:1] for x in inputs), observer)
    return layers


def _describe_binary_inputs(
    graph: Graph, weights: Container[str], layers: Mapping[str, Counted]
) -> dict[Value | TensorName, str]:
    """Values that are the codes of a weight, by its name; notes kind and bits of the layer that it is of."""
    codes: dict[Value | TensorName, str] = {}
    sums: dict[Value, str] = {}
    for index, node in enumerate(graph.nodes, start=len(graph.inputs)):
        match node:
            case Node(op=op, args=(TensorName(name),)) if op == _CODES and name in weights:
                codes[Value(index)] = name
                layers[_owner(name)].activation_bits = 1
            case Node(op=op, args=(_, Value() as weight, *_)) if weight in codes:
                sums[Value(index)] = codes[weight]
                layers[_owner(codes[weight])].kind = op.split(".")[1]
            case Node(op="aten.round.default" | "aten.sub.Tensor", args=(Value() as sum, *_)) if sum in sums:
                sums[Value(index)] = sums[sum]
            case Node(op="aten.remainder.Scalar", args=(Value() as sum, int() as span)) if sum in sums:
                layers[_owner(sums[sum])].accumulator_bits = span.bit_length() - 1
            case Node(op="aten.clamp.default", args=(Value() as sum, _, int() as high)) if sum in sums:
                layers[_owner(sums[sum])].accumulator_bits = high.bit_length() + 1
    return codes


def _of_header(
    header: Header, stored: Mapping[str, int], scales: Mapping[str, int], kernels: str
) -> dict[str, Counted]:
    layers: dict[str, Counted] = {}
    for name, weight in header.binary.items():
        layers.setdefault(_owner(name), Counted("-")).add_binary(weight.shape, scales[name], kernels)
    for name, tensor in header.dense.items():
        layer = layers.setdefault(_owner(name), Counted("-"))
        layer.add_dense(
            name, tensor.shape, torch_dtype(tensor.dtype), stored[name], tensor.role == "parameter"
        )
    return dict(sorted(layers.items(), key=lambda item: _natural(item[0])))


def _example(specs: Sequence[InputSpec]) -> tuple[Tensor, ...] | None:
    """Zeros for inputs whose sizes are all fixed but the batch; None for others."""
    if any(isinstance(size, str) for spec in specs for size in spec.shape[1:]):
        return None
    return tuple(torch.zeros((1, *map(int, spec.shape[1:])), dtype=torch_dtype(spec.dtype)) for spec in specs)


def _owner(name: str) -> str:
    return name.rpartition(".")[0]


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key that puts layer 2 before layer 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in name.split(".")]
