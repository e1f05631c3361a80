"""The tensors of a model as ``save_pretrained`` writes them, and the description that goes with them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from torch import Tensor, nn

from proxconnect.engine import PackedLayer
from proxconnect.format import BinaryTensor
from proxconnect.integrations.transformers._records import PackedRecord
from proxconnect.layers import (
    BinarizeConfig,
    BinaryInput,
    binarized_weights,
    full_name,
    hardened_weights,
    refuse_sharded,
    remembered,
    saved_name,
    scale_name,
)
from proxconnect.packing._store import accumulator_of, packed_bits, packed_form

_WAY_OUT = "gather it in one process first, or save with torch.distributed.checkpoint"


@dataclass
class SavedState:
    """The tensors of a model by the names of a float model, and what says how to read them.

    A latent has the name of its weight, with the state of its quantizer beside it: ``weight_mu`` and so on.
    A hardened or packed weight is there as bits (``weight``, uint8) with its scales (``weight_scale``).
    Whatever is not binarized is there as it is.
    """

    tensors: dict[str, Tensor]
    latents: dict[str, BinarizeConfig] = field(default_factory=dict)
    packed: dict[str, PackedRecord] = field(default_factory=dict)
    shared: dict[str, str] = field(default_factory=dict)


def saved_state(model: nn.Module) -> SavedState:
    """Describe a model that has latent, hardened or packed weights; the model stays as it is.

    Raises:
        ProxConnectError: the model is sharded, or a hardened weight has levels that cannot be packed or is
            no longer a level times its scale.
    """
    refuse_sharded(model, _WAY_OUT)
    saved = SavedState(model.state_dict())
    first: dict[int, str] = {}
    for found in binarized_weights(model):
        where = full_name(found.fqn, f"parametrizations.{found.tensor_name}")
        latent = saved.tensors.pop(f"{where}.original")
        own = {key: saved.tensors.pop(f"{where}.0.{key}") for key in found.quantizer.state_dict()}
        if _is_first(saved, first, found.latent, found.name):
            saved.tensors[found.name] = latent
            saved.tensors |= {saved_name(found.name, key): tensor for key, tensor in own.items()}
            saved.latents[found.name] = found.quantizer.config
    for hardened in hardened_weights(model):
        rows = hardened.form.rows
        form = packed_form(hardened.name, hardened.form.levels, rows)
        del saved.tensors[hardened.name], saved.tensors[scale_name(hardened.name)]
        if _is_first(saved, first, hardened.weight, hardened.name):
            bits = packed_bits(hardened.name, hardened, form)
            _add(saved, hardened.module, hardened.tensor_name, hardened.name, bits, hardened.scale, form)
    for fqn, module in model.named_modules():
        if isinstance(module, PackedLayer):
            for tensor_name, weight in module.packed_weights().items():
                name, where = full_name(fqn, tensor_name), full_name(fqn, f"packed.{tensor_name}")
                bits, scale = (saved.tensors.pop(f"{where}.{part}") for part in ("bits", "scale"))
                if _is_first(saved, first, weight, name):
                    _add(saved, module, tensor_name, name, bits, scale, weight.form)
    return saved


def _is_first(saved: SavedState, first: dict[int, str], weight: nn.Module | Tensor, name: str) -> bool:
    """Tell whether a weight is met for the first time; note the name under which it was met before."""
    before = first.setdefault(id(weight), name)
    if before != name:
        saved.shared[name] = before
    return before == name


def _add(
    saved: SavedState,
    layer: nn.Module,
    tensor_name: str,
    name: str,
    bits: Tensor,
    scale: Tensor,
    form: BinaryTensor,
) -> None:
    saved.tensors[name], saved.tensors[scale_name(name)] = bits, scale
    saved.packed[name] = PackedRecord(
        replace(form, accumulator=accumulator_of(layer)),
        str(scale.dtype).removeprefix("torch."),
        tuple(scale.shape),
        remembered(layer)[tensor_name].info.method,
        isinstance(layer, BinaryInput) and layer.input_quantizer.thresholds is not None,
    )
