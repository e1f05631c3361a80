"""The first and last layers of a model, which usually stay in full precision."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from torch import nn

from proxconnect.layers._tensors import is_linear_or_conv

_HEAD = re.compile(r"(?i)(^|_)(heads?|classifiers?|predictors?|predictions|\w*logits)\d*($|_)")


def ends(model: nn.Module, layers: Mapping[str, nn.Module]) -> dict[str, str]:
    """Find the first and last layers of ``model``: ``"first layer"`` or ``"last layer"`` by name.

    The first layer is the first in registration order, be it an ``Embedding``. Last are, among the ``Linear``
    layers and convolutions, all heads:

    1. the last in registration order;
    2. those just before it that lie beside it: of its class, with as many inputs, and with outputs that no
       layer after them takes; layers of one ``nn.Sequential`` follow each other and do not count. Projections
       of two encoders into one space count as well: in one module, with as many outputs but other inputs, and
       names that end in the same word, as ``visual_projection`` and ``text_projection``;
    3. those that share their weight with an ``Embedding``;
    4. the last one in each module that is called a head: whose own name has the word ``head``,
       ``classifier``, ``predictor``, ``predictions`` or ``logits``, which is not part of a numbered block,
       and whose outputs no layer after it takes. Of a list or dictionary of heads, each entry counts.

    Args:
        model: the model.
        layers: those of its layers that can be binarized, by name, in registration order.
    """
    matrices = [name for name, layer in layers.items() if is_linear_or_conv(layer)]
    if not matrices:
        return {}
    embeddings = {id(layer.weight) for layer in layers.values() if isinstance(layer, nn.Embedding)}
    heads = [
        matrices[-1],
        *_beside_the_last(model, layers, matrices),
        *(name for name in matrices if id(layers[name].weight) in embeddings),
        *_called_heads(model, layers, matrices),
    ]
    return dict.fromkeys(heads, "last layer") | {next(iter(layers)): "first layer"}


def _sizes(layer: nn.Module) -> tuple[int, int]:
    """Return the numbers of input and output channels of a linear layer or convolution."""
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    if hasattr(layer, "in_channels"):
        return layer.in_channels, layer.out_channels  # type: ignore[return-value]
    return layer.nx, layer.nf  # type: ignore[return-value]


def _taken(outputs: int, layers: Mapping[str, nn.Module], names: Sequence[str]) -> bool:
    return any(_sizes(layers[name])[0] == outputs for name in names)


def _beside_the_last(
    model: nn.Module, layers: Mapping[str, nn.Module], matrices: Sequence[str]
) -> Iterator[str]:
    last = matrices[-1]
    for i in range(len(matrices) - 2, -1, -1):
        name, after = matrices[i], matrices[i + 1 :]
        (inputs, outputs), (last_inputs, _) = _sizes(layers[name]), _sizes(layers[last])
        beside = inputs == last_inputs and not _taken(outputs, layers, after)
        beside = beside and not _in_one_sequence(model, name, last)
        alike = type(layers[name]) is type(layers[last])
        if not alike or not (beside or _into_one_space(layers, name, last)):
            return
        yield name


def _into_one_space(layers: Mapping[str, nn.Module], one: str, other: str) -> bool:
    (inputs, outputs), (other_inputs, other_outputs) = _sizes(layers[one]), _sizes(layers[other])
    (place, _, name), (other_place, _, other_name) = one.rpartition("."), other.rpartition(".")
    words, other_words = name.split("_"), other_name.split("_")
    named_alike = place == other_place and len(words) > 1 and words[-1] == other_words[-1]
    return named_alike and inputs != other_inputs and outputs == other_outputs


def _in_one_sequence(model: nn.Module, one: str, other: str) -> bool:
    parts, others = one.split("."), other.split(".")
    shared = 0
    while parts[shared] == others[shared]:
        shared += 1
    return isinstance(model.get_submodule(".".join(parts[:shared])), nn.Sequential)


def _called_heads(
    model: nn.Module, layers: Mapping[str, nn.Module], matrices: Sequence[str]
) -> Iterator[str]:
    for name, module in model.named_modules():
        *blocks, own = name.split(".")
        if not _HEAD.search(own) or any(part.isdecimal() for part in blocks):
            continue
        several = isinstance(module, nn.ModuleList | nn.ModuleDict)
        entries = [f"{name}.{key}" for key in module._modules] if several else [name]
        inside = [matrix for matrix in matrices if matrix == name or matrix.startswith(f"{name}.")]
        after = matrices[matrices.index(inside[-1]) + 1 :] if inside else []
        for entry in entries:
            own_layers = [matrix for matrix in inside if matrix == entry or matrix.startswith(f"{entry}.")]
            if own_layers and not _taken(_sizes(layers[own_layers[-1]])[1], layers, after):
                yield own_layers[-1]
