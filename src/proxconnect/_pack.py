"""From a model to what a packed file holds."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from proxconnect.engine import Network, PackedWeight, check_kernels, pack_layer_, unpack_layers_
from proxconnect.errors import ProxConnectError, unknown_name
from proxconnect.format import (
    BinaryTensor,
    DenseTensor,
    GraphInfo,
    Header,
    PackedFile,
    compressed_graph,
    pack_bits,
    stored_dtype,
)
from proxconnect.format.header import REST
from proxconnect.format.layout import GRAPH
from proxconnect.graph import Capture, canonical_names, to_json
from proxconnect.layers import BinarizationInfo, binarization_of, binarized_modules, harden_, is_hardened

Model = TypeVar("Model", bound=nn.Module)


def pack_(model: Model, kernels: str = "fast") -> Model:
    """Swap the binarized layers of ``model`` for packed ones, in place, and return it.

    Works with any control flow: the forward stays the user's own, and a layer's weight is unpacked when it is
    used. Layers that are not hardened yet are hardened first.

    Args:
        model: a model with binarized or hardened layers.
        kernels: ``"fast"`` or ``"reference"``, see :func:`proxconnect.load`.

    Raises:
        ProxConnectError: there is nothing to pack, or ``kernels`` is unknown. The model is then unchanged.

    >>> import torch, proxconnect as pc
    >>> layer = torch.nn.Linear(16, 4)
    >>> layer = pc.binarize_(layer, pc.BinarizeConfig("bc"), filter_fn=lambda module, name: True)
    >>> pc.pack_(layer, kernels="reference").packed.bits.shape
    torch.Size([4, 2])
    """
    check_kernels(kernels)
    if any(True for _ in binarized_modules(model)):
        harden_(model)
    layers = [module for module in model.modules() if is_hardened(module)]
    if not layers:
        raise ProxConnectError(
            "nothing to pack: the model has no binarized or hardened layer; call binarize_ first"
        )
    weights: dict[Tensor, PackedWeight] = {}  # holds its keys: the id of a weight that is gone may come again
    for layer in layers:
        weight, scale = cast(Tensor, layer.weight), cast(Tensor, layer.weight_scale)
        if weight not in weights:
            bits = pack_bits(~torch.signbit(weight)).to(weight.device)
            weights[weight] = PackedWeight(bits, scale, weight.shape, kernels)
        pack_layer_(layer, weights[weight])
    return model


def hardened_copy(model: nn.Module) -> nn.Module:
    """A copy in eval mode on the CPU whose binary layers are hardened.

    Raises:
        ProxConnectError: the model cannot be copied, was loaded from a file, or is not float32 and finite.
    """
    if isinstance(model, Network):
        raise ProxConnectError(
            "this network was loaded from a packed file: copy the file instead of saving it again"
        )
    try:
        twin = copy.deepcopy(model)
    except (RuntimeError, TypeError) as error:
        raise ProxConnectError(f"the model cannot be copied with copy.deepcopy: {error}") from None
    unpack_layers_(twin)
    if any(True for _ in binarized_modules(twin)):
        harden_(twin)
    twin = twin.cpu().eval()
    for name, (tensor, role) in dense_tensors(twin, {}).items():
        _refuse_unfit(name, tensor, role)
    return twin


def store(
    model: nn.Module,
    captured: Capture | None,
    rest: str,
    library: str,
    classes: Sequence[str] | None,
    preprocessing: Mapping[str, Any] | None,
    metrics: Mapping[str, float] | None,
) -> PackedFile:
    """The packed file of a hardened model and its graph."""
    if rest not in REST:
        raise ProxConnectError(unknown_name("rest", rest, REST))
    info = binarization_of(model) or BinarizationInfo("fp", "fp")
    binary = binary_layers(model)
    dense = dense_tensors(model, binary)
    graph, raw = None, b""
    if captured is not None:
        raw = to_json(captured.graph)
        graph = GraphInfo(len(raw), captured.graph.inputs)
        dense |= {name: (tensor, "constant") for name, tensor in captured.constants.items()}
    header = Header(
        library=library,
        method=info.method,
        setting=info.setting,
        rest=rest,
        binary={
            name: BinaryTensor(tuple(_weight_and_scale(layer)[0].shape)) for name, layer in binary.items()
        },
        dense={name: describe(tensor, role) for name, (tensor, role) in dense.items()},
        graph=graph,
        classes=None if classes is None else tuple(classes),
        preprocessing=None if preprocessing is None else dict(preprocessing),
        metrics=None if metrics is None else dict(metrics),
    )
    tensors: dict[str, Tensor] = {}
    for name, layer in binary.items():
        weight, scale = _weight_and_scale(layer)
        if not torch.equal(weight.abs(), scale.to(weight.dtype).expand_as(weight)):
            raise ProxConnectError(
                f"weight {name!r} is no longer plus or minus its scale; harden the model again"
            )
        tensors |= {f"{name}.bits": pack_bits(~torch.signbit(weight)), f"{name}.scale": scale}
    for name, (tensor, _) in dense.items():
        tensors |= _stored(name, tensor, stored_dtype(header, name))
    if captured is not None:
        tensors[GRAPH] = compressed_graph(raw)
    return PackedFile(header, tensors)


def binary_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The hardened layers by the names of their weights; of layers with one weight, the first."""
    canonical = canonical_names(model)
    layers: dict[str, nn.Module] = {}
    for prefix, module in model.named_modules():
        if is_hardened(module):
            layers.setdefault(canonical[f"{prefix}.weight".lstrip(".")], module)
    return layers


def dense_tensors(model: nn.Module, binary: Mapping[str, nn.Module]) -> dict[str, tuple[Tensor, str]]:
    """The parameters and persistent buffers that are not binary, with their roles; tied ones once."""
    persistent = model.state_dict(keep_vars=True).keys()
    scales = {id(module._buffers["weight_scale"]) for module in model.modules() if is_hardened(module)}
    dense: dict[str, tuple[Tensor, str]] = {
        name: (tensor, "parameter") for name, tensor in model.named_parameters() if name not in binary
    }
    for name, tensor in model.named_buffers():
        if name in persistent and id(tensor) not in scales:
            dense[name] = tensor, "buffer"
    return dense


def describe(tensor: Tensor, role: str) -> DenseTensor:
    """What a header says of a dense tensor."""
    return DenseTensor(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), role)


def _weight_and_scale(layer: nn.Module) -> tuple[Tensor, Tensor]:
    return cast(Tensor, layer.weight).detach(), cast(Tensor, layer.weight_scale)


def _refuse_unfit(name: str, tensor: Tensor, role: str) -> None:
    if tensor.is_floating_point() and tensor.dtype != torch.float32:
        raise ProxConnectError(
            f"{role} {name!r} is {tensor.dtype}; packed files take float32 models: model.float() first"
        )
    if role == "parameter" and not torch.isfinite(tensor).all():
        raise ProxConnectError(f"parameter {name!r} has NaN or infinite values; go back to a good checkpoint")
    if tensor.is_floating_point() and tensor.isnan().any():
        raise ProxConnectError(f"{role} {name!r} has NaN values; go back to a good checkpoint")


def _stored(name: str, tensor: Tensor, dtype: str) -> dict[str, Tensor]:
    tensor = tensor.detach()
    if dtype == "float16" and tensor.dtype == torch.float32:
        half = tensor.to(torch.float16)
        if not torch.isfinite(half).all():
            raise ProxConnectError(
                f"parameter {name!r} has values beyond float16; use rest='float32' or rest='int8'"
            )
        return {name: half}
    if dtype == "int8" and tensor.dtype == torch.float32:
        size = tensor.abs().amax(dim=tuple(range(1, tensor.ndim)), keepdim=True)
        step = (size / 127).where(size >= 1e-30, 1)  # a channel of zeros has no step of its own
        return {name: (tensor / step).round().to(torch.int8), f"{name}.dequant": step}
    return {name: tensor}
