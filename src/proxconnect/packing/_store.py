"""The content of a packed file, made from a model."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from proxconnect.base.rows import Rows
from proxconnect.engine import Network, unpack_layers_
from proxconnect.errors import ProxConnectError, unknown_name
from proxconnect.format import (
    BinaryTensor,
    DenseTensor,
    GraphInfo,
    Header,
    PackedFile,
    compressed_graph,
    pack_weight,
    stored_dtypes,
    unpack_weight,
)
from proxconnect.format.header import REST
from proxconnect.format.layout import GRAPH
from proxconnect.graph import Capture, canonical_names, to_json
from proxconnect.layers import (
    BinarizationInfo,
    BinaryInput,
    HardenedWeight,
    binarization_of,
    binarized_weights,
    harden_,
    hardened_weights,
    refuse_sharded,
    settle_scales_,
)
from proxconnect.packing._facts import Facts
from proxconnect.packing._plain import compute_weights_, plain_copy, unwrap_parts_

# Bits of a packed weight, by its levels.
BITS: dict[tuple[float, ...], int] = {(-1, 1): 1, (-1, 0, 1): 2}
LEVELS = {bits: levels for levels, bits in BITS.items()}
_GATHER = (
    "gather them with torch.distributed.checkpoint.state_dict.get_model_state_dict(model, options="
    "StateDictOptions(full_state_dict=True, cpu_offload=True)) in every process, load what it returns into a "
    "model that is binarized alike but not sharded, in one process, and save that"
)


def hardened_copy(model: nn.Module) -> nn.Module:
    """Copy a model to the CPU, in eval mode, without wrappers and with hardened binary layers.

    Weights that layers compute from several tensors, such as normed weights, become plain weights.

    Raises:
        ProxConnectError: the model cannot be copied, is sharded, was loaded from a file, or is not float32
            and finite.
    """
    if isinstance(model, Network):
        raise ProxConnectError(
            "this network was loaded from a packed file: copy the file instead of saving it again"
        )
    refuse_sharded(model, _GATHER)
    twin = plain_copy(model)
    unwrap_parts_(twin)
    unpack_layers_(twin)
    settle_scales_(twin)
    if any(True for _ in binarized_weights(twin)):
        harden_(twin)
    twin = twin.cpu().eval()
    compute_weights_(twin)
    for name, (tensor, role) in dense_tensors(twin, {}).items():
        _refuse_unfit(name, tensor, role)
    return twin


def store(
    model: nn.Module,
    captured: Capture | None,
    rest: str,
    library: str,
    facts: Facts,
) -> PackedFile:
    """Make the packed file of a hardened model and its graph."""
    if rest not in REST:
        raise ProxConnectError(unknown_name("rest", rest, REST))
    info = binarization_of(model) or BinarizationInfo("fp", "fp")
    binary = distinct_weights(model)
    dense = dense_tensors(model, binary)
    graph, raw = None, b""
    if captured is not None:
        raw = to_json(captured.graph)
        graph = GraphInfo(len(raw), captured.graph.inputs, captured.graph.sizes)
        dense |= {name: (tensor, "constant") for name, tensor in captured.constants.items()}
    header = Header(
        library=library,
        method=info.method,
        setting=info.setting,
        rest=rest,
        binary={
            name: replace(packed_form(name, w.form.levels, w.form.rows), accumulator=accumulator_of(w.module))
            for name, w in binary.items()
        },
        dense={name: describe(tensor, role) for name, (tensor, role) in dense.items()},
        graph=graph,
        classes=facts.classes,
        preprocessing=facts.preprocessing,
        metrics=facts.metrics,
    )
    tensors: dict[str, Tensor] = {}
    for name, found in binary.items():
        bits = packed_bits(name, found, header.binary[name])
        tensors |= {f"{name}.bits": bits, f"{name}.scale": found.scale}
    for name, (tensor, _) in dense.items():
        tensors |= stored(name, tensor, stored_dtypes(header, name))
    if captured is not None:
        tensors[GRAPH] = compressed_graph(raw)
    return PackedFile(header, tensors)


def packed_form(name: str, levels: tuple[float, ...], rows: Rows) -> BinaryTensor:
    """Describe a weight of these levels as a packed file does.

    Raises:
        ProxConnectError: a packed file has no bits for such levels.
    """
    if levels not in BITS:
        raise ProxConnectError(
            f"weight {name!r} has the levels {levels}; packed weights have {' or '.join(map(str, BITS))}: "
            "train with one of these, or keep the hardened model's state_dict"
        )
    return BinaryTensor(rows.shape, BITS[levels], rows.group, rows.transposed)


def packed_bits(name: str, found: HardenedWeight, form: BinaryTensor) -> Tensor:
    """Return the bits of a hardened weight, on the CPU.

    Raises:
        ProxConnectError: bits and scale do not make the weight again; the message calls it ``name``.
    """
    weight = found.weight.detach().cpu()
    bits = pack_weight(weight, form)
    if not torch.equal(unpack_weight(bits, found.scale.cpu(), form).to(weight.dtype), weight):
        raise ProxConnectError(f"weight {name!r} is no longer a level times its scale; harden it again")
    return bits


def accumulator_of(module: nn.Module) -> str | None:
    """Describe the accumulators of a layer as a packed file does; None if its input is not binary."""
    if not isinstance(module, BinaryInput):
        return None
    accumulator = module.accumulator
    return "32" if accumulator is None else f"{accumulator.overflow} {accumulator.bits}"


def distinct_weights(model: nn.Module) -> dict[str, HardenedWeight]:
    """Return the hardened weights by name; a weight that layers share has its first name."""
    canonical = canonical_names(model)
    weights: dict[str, HardenedWeight] = {}
    for found in hardened_weights(model):
        weights.setdefault(canonical[found.name], found)
    return weights


def dense_tensors(model: nn.Module, binary: Container[str]) -> dict[str, tuple[Tensor, str]]:
    """Return the parameters and persistent buffers that are not binary, with their roles; tied ones once."""
    persistent = model.state_dict(keep_vars=True).keys()
    scales = {id(found.scale) for found in hardened_weights(model)}
    dense: dict[str, tuple[Tensor, str]] = {
        name: (tensor, "parameter") for name, tensor in model.named_parameters() if name not in binary
    }
    for name, tensor in model.named_buffers():
        if name in persistent and id(tensor) not in scales:
            dense[name] = tensor, "buffer"
    return dense


def describe(tensor: Tensor, role: str) -> DenseTensor:
    """Describe a dense tensor as a header does."""
    return DenseTensor(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), role)


def _refuse_unfit(name: str, tensor: Tensor, role: str) -> None:
    if tensor.is_floating_point() and tensor.dtype != torch.float32:
        raise ProxConnectError(
            f"{role} {name!r} is {tensor.dtype}; packed files take float32 models: model.float() first"
        )
    if role == "parameter" and not torch.isfinite(tensor).all():
        raise ProxConnectError(f"parameter {name!r} has NaN or infinite values; go back to a good checkpoint")
    if tensor.is_floating_point() and tensor.isnan().any():
        raise ProxConnectError(f"{role} {name!r} has NaN values; go back to a good checkpoint")


def stored(name: str, tensor: Tensor, dtypes: Sequence[str]) -> dict[str, Tensor]:
    """Return the tensors of a file that hold a dense tensor in the first of the dtypes that can.

    Raises:
        ProxConnectError: the tensor has numbers beyond float16, and float32 is not among the dtypes.
    """
    tensor, dtype = tensor.detach(), dtypes[0]
    if dtype == "float16" and tensor.dtype == torch.float32:
        half = tensor.to(torch.float16)
        if not torch.isfinite(half).all():
            if "float32" in dtypes:
                return {name: tensor}
            raise ProxConnectError(
                f"parameter {name!r} has values beyond float16; use rest='float32' or rest='int8'"
            )
        return {name: half}
    if dtype == "int8" and tensor.dtype == torch.float32:
        size = tensor.abs().amax(dim=tuple(range(1, tensor.ndim)), keepdim=True)
        step = (size / 127).where(size >= 1e-30, 1)  # a channel of zeros has no step of its own
        return {name: (tensor / step).round().to(torch.int8), f"{name}.dequant": step}
    return {name: tensor}
