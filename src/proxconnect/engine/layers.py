"""Layers that hold their weight packed: the user's own modules, with another class."""

from __future__ import annotations

from functools import cache
from typing import ClassVar, cast

from torch import Tensor, nn

from proxconnect.engine.weight import PackedWeight


class PackedLayer(nn.Module):
    """A layer whose ``weight`` is unpacked from ``packed`` whenever it is read; its forward is its own."""

    plain: ClassVar[type[nn.Module]]
    packed: PackedWeight

    @property
    def weight(self) -> Tensor:
        """The weight, unpacked now."""
        return self.packed()  # type: ignore[no-any-return]


@cache
def packed_class(plain: type[nn.Module]) -> type[PackedLayer]:
    """The packed form of a layer class.

    >>> packed_class(nn.Linear) is PackedLinear
    True
    """
    fields = {
        "plain": plain,
        "__module__": __name__,
        "__doc__": f"``{plain.__name__}`` with a packed weight.",
    }
    return cast(type[PackedLayer], type(f"Packed{plain.__name__}", (PackedLayer, plain), fields))


PackedLinear = packed_class(nn.Linear)
PackedConv1d = packed_class(nn.Conv1d)
PackedConv2d = packed_class(nn.Conv2d)
PackedConv3d = packed_class(nn.Conv3d)


def pack_layer_(layer: nn.Module, weight: PackedWeight) -> None:
    """Make ``layer`` compute with ``weight`` instead of its parameter ``weight``, in place.

    Args:
        layer: a layer with a float weight, hardened or plain; its other state, hooks and identity stay.
        weight: the packed weight; layers may share one.
    """
    del layer._parameters["weight"]
    layer._buffers.pop("weight_scale", None)
    layer.__class__ = packed_class(type(layer))  # type: ignore[arg-type]
    layer.packed = weight


def unpack_layers_(model: nn.Module) -> None:
    """Undo :func:`pack_layer_` for every packed layer, in place: hardened layers, scales in ``weight_scale``.

    Layers that shared a packed weight share the hardened one.
    """
    weights: dict[PackedWeight, nn.Parameter] = {}
    for layer in [module for module in model.modules() if isinstance(module, PackedLayer)]:
        packed = layer.packed
        if packed not in weights:
            weights[packed] = nn.Parameter(packed(), requires_grad=False)
        del layer._modules["packed"]
        layer.__class__ = layer.plain  # type: ignore[assignment]
        layer.register_parameter("weight", weights[packed])
        layer.register_buffer("weight_scale", packed.scale)
