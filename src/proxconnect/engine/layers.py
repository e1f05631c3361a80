"""Layers that hold their weights packed: the user's own modules, with another class."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from typing import ClassVar, cast

from torch import Tensor, nn

from proxconnect.engine.weight import PackedWeight
from proxconnect.layers import read_weights_anew, scale_name


class PackedLayer(nn.Module):
    """A layer whose weights are unpacked from ``packed`` whenever they are read; its forward is its own."""

    plain: ClassVar[type[nn.Module]]
    packed: nn.ModuleDict

    def packed_weights(self) -> dict[str, PackedWeight]:
        """The packed weights by name."""
        return cast(dict[str, PackedWeight], dict(self.packed.items()))


@cache
def packed_class(plain: type[nn.Module], names: tuple[str, ...]) -> type[PackedLayer]:
    """The packed form of a layer class, of which the tensors called ``names`` are packed.

    >>> packed_class(nn.Linear, ("weight",)) is PackedLinear
    True
    """
    fields = {
        "plain": plain,
        "__module__": __name__,
        "__doc__": f"``{plain.__name__}`` with packed {', '.join(names)}.",
        **{name: property(partial(_unpacked, name=name)) for name in names},
    }
    packed = type(f"Packed{plain.__name__}", (PackedLayer, plain), fields)
    if issubclass(plain, nn.RNNBase):
        read_weights_anew(packed)
    return cast(type[PackedLayer], packed)


def _unpacked(layer: PackedLayer, name: str) -> Tensor:
    return layer.packed[name]()  # type: ignore[no-any-return]


PackedLinear = packed_class(nn.Linear, ("weight",))
PackedConv1d = packed_class(nn.Conv1d, ("weight",))
PackedConv2d = packed_class(nn.Conv2d, ("weight",))
PackedConv3d = packed_class(nn.Conv3d, ("weight",))


def pack_layer_(layer: nn.Module, weights: Mapping[str, PackedWeight]) -> None:
    """Make ``layer`` compute with ``weights`` instead of its parameters of these names, in place.

    Args:
        layer: a layer with float weights, hardened or plain; its other state, hooks and identity stay.
        weights: the packed weights by name; layers may share them.
    """
    for name in weights:
        del layer._parameters[name]
        layer._buffers.pop(scale_name(name), None)
    layer.__dict__.pop("_flat_weights", None)  # what recurrent layers keep of them
    layer.__class__ = packed_class(type(layer), tuple(weights))  # type: ignore[arg-type]
    layer.packed = nn.ModuleDict(weights)


def unpack_layers_(model: nn.Module) -> None:
    """Undo :func:`pack_layer_` for every packed layer, in place: hardened layers, scales in buffers beside.

    Layers that shared a packed weight share the hardened one.
    """
    weights: dict[nn.Module, nn.Parameter] = {}
    for layer in [module for module in model.modules() if isinstance(module, PackedLayer)]:
        packed = layer.packed_weights()
        del layer._modules["packed"]
        layer.__class__ = layer.plain  # type: ignore[assignment]
        for name, weight in packed.items():
            if weight not in weights:
                weights[weight] = nn.Parameter(weight(), requires_grad=False)
            layer.register_parameter(name, weights[weight])
            layer.register_buffer(scale_name(name), weight.scale)
        if isinstance(layer, nn.RNNBase):
            layer._init_flat_weights()
