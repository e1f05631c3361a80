"""Empty packed layers in a model of transformers, and their filling with bits and scales."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from proxconnect.engine import PackedLayer, PackedWeight, pack_layer_
from proxconnect.errors import FormatError
from proxconnect.format import check_scale, check_weight_bits, torch_dtype
from proxconnect.integrations.transformers._places import Place, places, untie_
from proxconnect.integrations.transformers._records import PackedRecord
from proxconnect.layers import (
    BinarizationInfo,
    BinarizeConfig,
    Hardened,
    binarize_input_,
    harden_input_,
    remember,
    rows_of,
    scale_name,
    setting_of,
    takes_binary_input,
    watch_reads_,
    weight_names,
)
from proxconnect.packing._store import LEVELS


class EmptyPackedLayers:
    """Layers of a model whose weights are bits and scales that are still to come.

    The weight of each named layer is replaced by two buffers on the meta device, of the names of the weight
    and of its scales in a saved model: ``weight`` (uint8) and ``weight_scale``. Whoever loads the model puts
    the stored tensors there. :meth:`fill_` then makes packed layers of them. Float weights never exist.

    Args:
        model: a model of transformers, on the meta device or with weights, which it loses.
        packed: the descriptions of the packed weights, by name.
        shared: the names of weights that are another weight, such as a head that is the embedding.
        saved_from: names of the classes that the names are of; other classes may lack some of the layers.

    Raises:
        FormatError: a layer is missing, cannot be packed, or has a weight of another shape.
    """

    def __init__(
        self,
        model: Any,
        packed: Mapping[str, PackedRecord],
        shared: Mapping[str, str],
        saved_from: Iterable[str] = (),
    ) -> None:
        self._packed = packed
        self._own = places(model, packed, saved_from)
        again = {name: first for name, first in shared.items() if first in packed}
        self._again = places(model, again, saved_from)
        self._shared = shared
        for name, place in {**self._own, **self._again}.items():
            _refuse_misfit(name, place, packed[again.get(name, name)])
        for name, (layer, _) in {**self._own, **self._again}.items():
            _give_binary_input(layer, packed[again.get(name, name)])
            layer._is_hf_initialized = True  # type: ignore[assignment]  # transformers draws no weights for it
        for name, (layer, tensor_name) in self._own.items():
            record = packed[name]
            _put(layer, tensor_name, torch.empty(record.form.bits_shape, dtype=torch.uint8, device="meta"))
            scale = torch.empty(record.scale_shape, dtype=torch_dtype(record.scale_dtype), device="meta")
            _put(layer, scale_name(tensor_name), scale)
        for layer, tensor_name in self._again.values():
            del layer._parameters[tensor_name]
        untie_(model, [*self._own.values(), *self._again.values()])

    def fill_(self, model: Any, dtype: torch.dtype, activations: str | None = None) -> None:
        """Make packed layers of the tensors that were put into the places of weights, in place.

        Args:
            model: the model.
            dtype: the dtype in which the model computes.
            activations: see :func:`proxconnect.pack_`.

        Raises:
            FormatError: a tensor is missing, or has another dtype or shape; a padding bit is set, a zero has
                a sign, or a scale is negative or not finite.
        """
        layers: dict[nn.Module, dict[str, PackedWeight]] = {}
        weights: dict[str, PackedWeight] = {}
        for name, (layer, tensor_name) in self._own.items():
            record = self._packed[name]
            bits = _taken(layer, tensor_name, name)
            scale = _taken(layer, scale_name(tensor_name), scale_name(name))
            _refuse_other(scale, record.scale_shape, torch_dtype(record.scale_dtype), scale_name(name))
            check_weight_bits(bits, record.form, f"tensor {name!r}")
            check_scale(scale, f"tensor {scale_name(name)!r}")
            weights[name] = PackedWeight(bits, scale, record.form, dtype=dtype)
        for name, (layer, tensor_name) in {**self._own, **self._again}.items():
            first = self._shared.get(name, name)
            record, weight = self._packed[first], weights[first]
            info = BinarizationInfo(record.method, setting_of(layer))
            remember(layer, tensor_name, Hardened(info, LEVELS[record.form.bits], record.form.rows))
            layers.setdefault(layer, {})[tensor_name] = weight
        for layer, found in layers.items():
            pack_layer_(layer, found, activations)
        watch_reads_(model, PackedLayer)


def _refuse_misfit(name: str, place: Place, record: PackedRecord) -> None:
    (layer, tensor_name), form = place, record.form
    if tensor_name not in weight_names(layer) or tensor_name not in layer._parameters:
        raise FormatError(
            f"weight {name!r} is packed in the folder, but cannot be so in {type(layer).__name__}; the "
            "folder is damaged"
        )
    found = tuple(cast(Tensor, layer._parameters[tensor_name]).shape)
    if found != form.shape or rows_of(layer, found).transposed != form.transposed:
        raise FormatError(
            f"weight {name!r} has the shape {list(form.shape)} in quantization_config, but {list(found)} in "
            "the model that config.json describes"
        )
    if form.accumulator is not None and not takes_binary_input(layer):
        raise FormatError(f"weight {name!r}: {type(layer).__name__} cannot have binary input")


def _refuse_other(tensor: Tensor, shape: tuple[int, ...], dtype: torch.dtype, name: str) -> None:
    if tuple(tensor.shape) != shape or tensor.dtype != dtype:
        found = f"{tensor.dtype} of shape {list(tensor.shape)}"
        raise FormatError(f"tensor {name!r}: {found}, expected {dtype} of shape {list(shape)}")


def _put(layer: nn.Module, tensor_name: str, tensor: Tensor) -> None:
    layer._parameters.pop(tensor_name, None)
    layer.register_buffer(tensor_name, tensor)


def _taken(layer: nn.Module, tensor_name: str, name: str) -> Tensor:
    tensor = layer._buffers.pop(tensor_name)
    if tensor is None or tensor.is_meta or not getattr(tensor, "_is_hf_initialized", False):
        raise FormatError(f"tensor {name!r} is missing")
    return tensor


def _give_binary_input(layer: nn.Module, record: PackedRecord) -> None:
    """Give a layer that was saved with 1-bit inputs the class and the parts of one, in place."""
    if record.form.accumulator is None:
        return
    overflow, _, bits = record.form.accumulator.rpartition(" ")
    config = BinarizeConfig(
        activations="bnn",
        accumulator_bits=int(bits),
        overflow=overflow or "wrap",
        learn_thresholds=record.thresholds,
    )
    binarize_input_(layer, config)
    harden_input_(layer)
