"""The weights of a model of transformers, as tensors of a GGUF file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from proxconnect.engine import PackedLayer, PackedWeight
from proxconnect.errors import ExportError
from proxconnect.gguf._architectures import EMBEDDING, HEAD, row_order, tensor_names, tensor_shapes
from proxconnect.gguf._blocks import BLOCK_TYPES, WRITTEN_TYPES, Blocks
from proxconnect.gguf._configuration import Model
from proxconnect.gguf._rope import FACTORS, rope_factors
from proxconnect.layers import BinaryInput, HardenedWeight, binarized_weights, hardened_weights
from proxconnect.packing import hardened_copy, packed_bits, packed_form

Weight = PackedWeight | Tensor


class FileTensor(NamedTuple):
    """A tensor as a file has it: floats, or the bytes of blocks of a type; rows first."""

    values: npt.NDArray[Any]
    kind: str | None = None


def model_weights(model: nn.Module) -> dict[str, Weight]:
    """Return the parameters of a model by name: packed where they have few levels, shared ones once.

    Raises:
        ExportError: no weight has few levels, or layers have binary inputs.
        ProxConnectError: a weight has levels that cannot be packed, or is no longer a level times its scale.
    """
    if any(isinstance(module, BinaryInput) for module in model.modules()):
        raise ExportError(
            "layers of this model have 1-bit inputs, and GGUF is for float inputs: train with 'bw'"
        )
    if any(True for _ in binarized_weights(model)):
        model = hardened_copy(model)
    weights: dict[str, Weight] = {}
    for name, layer in model.named_modules():
        if isinstance(layer, PackedLayer):
            weights |= {f"{name}.{tensor}": weight for tensor, weight in layer.packed_weights().items()}
    packed: dict[int, PackedWeight] = {}
    for found in hardened_weights(model):
        if id(found.weight) not in packed:
            packed[id(found.weight)] = _packed(found)
        weights[found.name] = packed[id(found.weight)]
    if not weights:
        raise ExportError("no layer of this model has 1-bit or ternary weights: binarize and train it first")
    for name, parameter in model.named_parameters():
        weights.setdefault(name, parameter.detach())
    first = {id(weight): name for name, weight in reversed(weights.items())}
    return {name: weight for name, weight in weights.items() if first[id(weight)] == name}


def _packed(found: HardenedWeight) -> PackedWeight:
    form = packed_form(found.name, found.form.levels, found.form.rows)
    return PackedWeight(packed_bits(found.name, found, form), found.scale.cpu(), form)


def file_tensors(weights: Mapping[str, Weight], numbers: Model, rest: str) -> dict[str, FileTensor]:
    """Return the tensors of a file by their names there.

    Args:
        weights: those of :func:`model_weights`.
        numbers: of the model.
        rest: dtype of matrices that are no blocks.

    Raises:
        ExportError: the weights are not those of the architecture, a layer fills no blocks, or a value is
            beyond float16.
    """
    architecture, size = numbers.architecture, numbers.size
    expected = tensor_shapes(architecture, size)
    found = {name: _shape(weight) for name, weight in weights.items()}
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            raise ExportError(
                f"parameter {name!r} has the shape {found.get(name)}; a {architecture.name} in a GGUF "
                f"file has {expected.get(name)} (None: no such parameter)"
            )
    factors = rope_factors(numbers.rope, size.head)
    tensors = {} if factors is None else {FACTORS: FileTensor(factors)}
    names = tensor_names(architecture, size.layers)
    for name, weight in weights.items():
        tensor = _tensor(name, weight, rest)
        order = row_order(architecture, name, size, reading=False)
        tensors[names[name]] = tensor if order is None else tensor._replace(values=tensor.values[order])
    return tensors


def most_common_type(tensors: Mapping[str, FileTensor]) -> str:
    """Name the type of blocks that most bytes of a file have; ``F16`` if no tensor has blocks."""
    sizes: Counter[str] = Counter({"F16": 0})
    for tensor in tensors.values():
        sizes[tensor.kind or "F16"] += tensor.values.nbytes if tensor.kind else 0
    return sizes.most_common(1)[0][0]


def _shape(weight: Weight) -> tuple[int, ...]:
    return tuple(weight.form.shape if isinstance(weight, PackedWeight) else weight.shape)


def _tensor(name: str, weight: Weight, rest: str) -> FileTensor:
    if isinstance(weight, PackedWeight):
        kind = WRITTEN_TYPES[weight.form.bits]
        misfit = _misfit(weight, kind)
        if misfit is None:
            return FileTensor(_encoded(name, weight, kind), kind)
        if name not in (EMBEDDING, HEAD):
            raise ExportError(
                f"{name!r} has {misfit}; {kind} has one scale for {BLOCK_TYPES[kind].inputs} inputs"
            )
    floats: Tensor = weight() if isinstance(weight, PackedWeight) else weight
    return FileTensor(_numpy(name, floats, getattr(torch, "float32" if floats.ndim == 1 else rest)))


def _misfit(weight: PackedWeight, kind: str) -> str | None:
    """Say why a weight fills no blocks; None if it does."""
    (_, inputs), group, block = weight.form.shape, weight.form.group, BLOCK_TYPES[kind].inputs
    if inputs % block:
        return f"{inputs} inputs"
    if group is not None and group < inputs and group % block:
        return f"a scale for {group} inputs"
    return None


def _encoded(name: str, weight: PackedWeight, kind: str) -> npt.NDArray[np.uint8]:
    """Write the blocks of a weight: uint8 of shape ``(rows, bytes of a row)``."""
    (rows, inputs), group, block = weight.form.shape, weight.form.group, BLOCK_TYPES[kind]
    scale = weight.scale
    if group is None or group >= inputs:
        scales = scale.reshape(-1, 1).expand(rows, inputs // block.inputs)
    else:
        scales = scale.repeat_interleave(group // block.inputs, dim=1)[:, : inputs // block.inputs]
    assert block.encode is not None
    blocks = Blocks(weight.bits.cpu().numpy(), _numpy(name, scales, torch.float16))
    return block.encode(blocks).reshape(rows, -1)


def _numpy(name: str, tensor: Tensor, dtype: torch.dtype) -> npt.NDArray[Any]:
    values = tensor.detach().cpu().to(dtype)
    if not torch.isfinite(values).all():
        raise ExportError(
            f"{name!r} has values that {dtype} cannot hold; use rest='float32', or train it longer"
        )
    return values.contiguous().numpy()
