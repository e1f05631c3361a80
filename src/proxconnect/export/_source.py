"""The one thing that all exports start from: a graph, its tensors, and its weights of few levels."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from proxconnect import format as packed_format
from proxconnect.base.rows import Rows
from proxconnect.engine import Network, PackedWeight
from proxconnect.errors import ExportError, FormatError
from proxconnect.format import stored_dtypes, unpack_weight
from proxconnect.graph import Dynamic, Examples, Graph, capture
from proxconnect.layers import HardenedWeight, binarization_of
from proxconnect.packing import dense_tensors, distinct_weights, hardened_copy

Exportable = str | os.PathLike[str] | nn.Module


class LevelWeight(NamedTuple):
    """A weight of whole numbers times scales.

    Args:
        codes: int8, of ``rows.row_shape``: the rows of the weight lie along dimension 0.
        scale: float32, of one of ``rows.scale_shapes``.
        rows: where the rows lie in the weight, and which elements share a scale.
    """

    codes: Tensor
    scale: Tensor
    rows: Rows

    def weight(self) -> Tensor:
        """Compute the weight, float32 of ``rows.shape``."""
        return self.rows.turned(self.codes).to(torch.float32) * self.rows.spread(self.scale)

    def is_binary(self) -> bool:
        """Tell whether all codes are -1 or +1."""
        return bool((self.codes.abs() == 1).all())


@dataclass(frozen=True)
class Source:
    """A network to export.

    Args:
        graph: the network; its variants are left out of exports.
        weights: the weights of few levels that the graph names.
        tensors: all other tensors that the graph names, on the CPU.
        facts: ``method``, ``setting``, ``classes``, ``preprocessing`` and ``metrics``; None where unknown.
    """

    graph: Graph
    weights: Mapping[str, LevelWeight]
    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]

    def tensor(self, name: str) -> Tensor:
        """Return a tensor that the graph names; weights of few levels are float32."""
        return self.weights[name].weight() if name in self.weights else self.tensors[name]


def source_of(model: Exportable, example_inputs: Examples | None, dynamic: Dynamic | None) -> Source:
    """Take a packed file, a loaded network, or a model, which is hardened if it is not.

    Args:
        model: the path of a packed file, a network of :func:`proxconnect.load`, or a model.
        example_inputs: of a model, as for :func:`proxconnect.save`.
        dynamic: of a model, as for :func:`proxconnect.save`.

    Raises:
        ExportError: ``example_inputs`` is missing or not needed, or the model cannot be captured.
        FormatError: the file is damaged or has no graph.
        ProxConnectError: the model cannot be hardened.
    """
    check_examples(model, example_inputs, dynamic)
    if isinstance(model, Network):
        return _of_network(model, {})
    if isinstance(model, nn.Module):
        return _of_model(model, cast(Examples, example_inputs), dynamic)
    path = Path(model)
    packed = packed_format.read(path)
    try:
        return _of_network(Network(packed, kernels="reference"), packed.tensors)
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from None


def check_examples(model: Exportable, example_inputs: Examples | None, dynamic: Dynamic | None) -> None:
    """Refuse a model without ``example_inputs``, and a packed file or a loaded network with them."""
    needs_examples = isinstance(model, nn.Module) and not isinstance(model, Network)
    if needs_examples and example_inputs is None:
        raise ExportError(
            "a model needs example_inputs, such as torch.zeros(1, 3, 32, 32): a packed file has its own"
        )
    if not needs_examples and (example_inputs is not None or dynamic is not None):
        raise ExportError("example_inputs and dynamic are for models: a packed file has its own")


def _of_network(network: Network, stored: Mapping[str, Tensor]) -> Source:
    """Take a loaded network; ``stored`` has the tensors of its file, if they are at hand."""
    header = network.header
    weights: dict[str, LevelWeight] = {}
    tensors: dict[str, Tensor] = {}
    for name in header.binary:
        packed = cast(PackedWeight, network.model.get_submodule(name))
        form, scale = packed.form, packed.scale.detach().cpu()
        codes = unpack_weight(packed.bits.cpu(), torch.ones_like(scale), form)
        weights[name] = LevelWeight(form.rows.turned(codes).to(torch.int8), scale.float(), form.rows)
    for name, dense in header.dense.items():
        if stored and dense.dtype != "int8" and stored_dtypes(header, name) == ("int8",):
            weights[name] = LevelWeight(stored[name], stored[f"{name}.dequant"], Rows(dense.shape))
        else:
            tensors[name] = network._lookup(name).detach().cpu()
    facts = {name: getattr(header, name) for name in ("classes", "preprocessing", "metrics")}
    return Source(network.graph, weights, tensors, facts | _method(header.method, header.setting))


def _of_model(model: nn.Module, example_inputs: Examples, dynamic: Dynamic | None) -> Source:
    hard = hardened_copy(model)
    captured = capture(hard, example_inputs, dynamic)
    found = {name: _levels_of(weight) for name, weight in distinct_weights(hard).items()}
    weights = {name: weight for name, weight in found.items() if weight is not None}
    tensors = {name: tensor.detach() for name, (tensor, _) in dense_tensors(hard, weights).items()}
    info = binarization_of(hard)
    facts = _method("fp", "fp") if info is None else _method(info.method, info.setting)
    return Source(captured.graph, weights, tensors | captured.constants, facts)


def _levels_of(found: HardenedWeight) -> LevelWeight | None:
    """Split a hardened weight into codes and scales; None if its levels are no whole numbers of 8 bits."""
    rows, scale, weight = found.form.rows, found.scale.detach().float(), found.weight.detach()
    spread = rows.spread(scale)
    codes = (weight / spread.where(spread != 0, 1)).round().clamp(-127, 127).where(spread != 0, 1)
    if not torch.equal(codes * spread, weight):
        return None
    return LevelWeight(rows.turned(codes).to(torch.int8), scale, rows)


def _method(method: str, setting: str) -> dict[str, Any]:
    return {"method": method, "setting": setting}
