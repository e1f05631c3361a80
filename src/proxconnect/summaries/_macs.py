"""Multiply-accumulates of layers and of graph nodes: one for each use of each weight."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from proxconnect.graph import Node, TensorName
from proxconnect.layers import rows_of, weight_names

_BY_OUTPUT = ("linear", "conv1d", "conv2d", "conv3d")
_BY_INPUT = ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
_RECURRENT = [f"{kind}{cell}" for kind in ("lstm", "gru", "rnn_tanh", "rnn_relu") for cell in ("", "_cell")]


def model_macs(model: nn.Module, inputs: Sequence[Tensor]) -> dict[str, int]:
    """Count the multiply-accumulates of one sample, by layer; ``inputs`` are the model's, batch first."""
    macs: dict[str, int] = {}
    twin = copy.deepcopy(model).eval()  # a forward in training mode would move BatchNorm's statistics

    def hook(name: str) -> Callable[[nn.Module, Any, dict[str, Any], Any], None]:
        def count(module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
            bound = inspect.signature(module.forward).bind(*args, **kwargs)
            arguments = [*bound.args, *bound.kwargs.values()]
            for part, products in _of_layer(module, arguments, output).items():
                layer = f"{name}.{part}".strip(".")
                macs[layer] = macs.get(layer, 0) + products

        return count

    for name, module in twin.named_modules():
        if weight_names(module):
            module.register_forward_hook(hook(name), with_kwargs=True)
    with torch.no_grad():
        twin(*(x[:1] for x in inputs))
    return macs


def _of_layer(module: nn.Module, arguments: Sequence[Any], output: Any) -> dict[str, int]:
    """Count the products of a layer, under an empty name, and of a part that it uses without calling it."""
    if isinstance(module, nn.MultiheadAttention):
        query, key, value = (x.numel() * module.embed_dim for x in arguments[:3])
        return {"": query + key + value, "out_proj": query}
    first = arguments[0]
    if isinstance(module, nn.RNNBase | nn.RNNCellBase):
        data = first.data if isinstance(first, PackedSequence) else first
        weights = sum(getattr(module, name).numel() for name in weight_names(module))
        return {"": data.numel() // module.input_size * weights}
    if isinstance(module, nn.Embedding):
        return {}
    shape = cast(Tensor, module.weight).shape
    values = output if rows_of(module, shape).transposed is None else first
    return {"": values.numel() * math.prod(shape[1:])}


def node_macs(
    node: Node, args: Sequence[Any], output: Any, shapes: Mapping[str, Sequence[int]]
) -> Iterator[tuple[str, int]]:
    """Yield the name of each weight that a node multiplies with, and the number of products.

    Args:
        node: a node of a graph.
        args: the arguments of the node, as tensors and numbers.
        output: the result of the node.
        shapes: the shapes of the network's tensors.
    """
    operator = node.op.removeprefix("aten.").split(".")[0]
    match node.args:
        case (_, TensorName(name), *_) if operator in _BY_OUTPUT:
            yield name, output.numel() * math.prod(shapes[name][1:])
        case (_, TensorName(name), *_) if operator in _BY_INPUT:
            yield name, args[0].numel() * math.prod(shapes[name][1:])
        case (_, _, TensorName(name)) if operator == "addmm":
            yield name, args[1].numel() * math.prod(shapes[name][1:])
        case (_, _, (*weights,), *_) | (_, _, *weights) if operator in _RECURRENT:
            steps = math.prod(args[0].shape[:-1])
            for weight in weights:
                if isinstance(weight, TensorName) and len(shapes[weight.name]) == 2:
                    yield weight.name, steps * math.prod(shapes[weight.name])
