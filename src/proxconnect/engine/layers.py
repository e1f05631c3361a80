"""Hold the weights of layers packed: the layers stay the user's own modules, with another class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from proxconnect.base.eager import watched
from proxconnect.engine._kernel_choice import UNPACKED, kernel_of
from proxconnect.engine._layer_geometry import geometry_of_layer
from proxconnect.engine._packed_forward import PackedForward, PackedLookUp
from proxconnect.engine.weight import PackedWeight
from proxconnect.errors import ProxConnectError
from proxconnect.kernels import PreparedCall
from proxconnect.layers import note_call, read_weights_anew, scale_name


class PackedLayer(nn.Module):
    """A layer with packed weights: a kernel computes with them, or its own forward with the unpacked ones.

    The kernel computes where ``kernel`` names one, for float32 on the CPU, and where no gradient is wanted. A
    weight that is read is unpacked for as long as it is used.
    """

    plain: ClassVar[type[nn.Module]]
    packed: nn.ModuleDict
    activations: str | None = None
    packed_forward: PackedForward | PackedLookUp | None = None
    loading: RemovableHandle

    def packed_weights(self) -> dict[str, PackedWeight]:
        """Return the packed weights by name."""
        return cast(dict[str, PackedWeight], dict(self.packed.items()))

    @property
    def kernel(self) -> str:
        """The kernel of this layer, such as ``"w1a8"``, ``"rows"`` of an embedding, or ``"unpacked"``."""
        return UNPACKED if self.packed_forward is None else self.packed_forward.kernel

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the layer's output.

        Raises:
            ProxConnectError: a linear layer's or convolution's input has another dtype, device or number of
                channels than its weight.
        """
        note_call(self)
        product = self.packed_forward
        if product is not None:
            input = args[0] if args else kwargs["input"]
            output = product.at_once(input, self)
            if output is not None:
                return output
            product.refuse_misfit(input)
            if product.computes_for(input, self):
                return product(input, self)
        return super().forward(*args, **kwargs)

    def lay_out(self) -> None:
        """Lay the weight out for its kernel anew: bits, scales or bias have become others."""
        self.packed_forward = None
        if self.plain is nn.Embedding and cast(nn.Embedding, self).max_norm is None:
            (table,) = self.packed_weights().values()
            if table.kernels == "fast":
                self.packed_forward = PackedLookUp(table)
            return
        bias = self._parameters.get("bias")
        weights = [weight for weight in self.packed_weights().values() if weight.on_kernels]
        if bias is not None and bias.dtype != torch.float32:
            return  # kernels add it in float32
        geometry = geometry_of_layer(self, self.plain) if weights else None
        if geometry is not None:
            kernel = kernel_of(weights[0].form, geometry, self.activations, planes=True)
            if kernel != UNPACKED:
                self.packed_forward = PackedForward(kernel, geometry, weights[0], self)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        # The class is made here and has no name that a pickle could find; what is laid out is made again.
        state = self.__getstate__()  # type: ignore[no-untyped-call]
        state = {name: value for name, value in state.items() if name != "packed_forward"}
        return _blank_layer, (self.plain, tuple(self.packed_weights())), state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self.lay_out()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.lay_out()
        return self


@cache
def packed_class(plain: type[nn.Module], names: tuple[str, ...]) -> type[PackedLayer]:
    """Derive the packed form of a layer class, of which the tensors called ``names`` are packed.

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


def _blank_layer(plain: type[nn.Module], names: tuple[str, ...]) -> PackedLayer:
    """Make a packed layer without state, which unpickling and copying fill."""
    kind = packed_class(plain, names)  # type: ignore[arg-type]
    return kind.__new__(kind)


class UnpackedWeight(Tensor):
    """The weight of a packed layer, made of its bits for one read; assigning its ``data`` is refused.

    Tools that merge adapters do so, and what they assign would be lost.
    """

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]  # as a Parameter

    @property
    def data(self) -> Tensor:
        """The values."""
        return self.detach()

    @data.setter
    def data(self, value: Tensor) -> None:
        raise ProxConnectError(
            "the weight of a packed layer is made of its bits for each read, so what is assigned to it would "
            "be lost: keep adapters beside the packed model, or merge them into a float model and binarize "
            "that"
        )


def _unpacked(layer: PackedLayer, name: str) -> Tensor:
    weight: Tensor = layer.packed[name]()
    return weight if watched(weight) else weight.as_subclass(UnpackedWeight)


def _lay_out_again(layer: nn.Module, keys: object) -> None:
    cast(PackedLayer, layer).lay_out()


PackedLinear = packed_class(nn.Linear, ("weight",))
PackedConv1d = packed_class(nn.Conv1d, ("weight",))
PackedConv2d = packed_class(nn.Conv2d, ("weight",))
PackedConv3d = packed_class(nn.Conv3d, ("weight",))


def direct_call(layer: nn.Module) -> PreparedCall | None:
    """Return what a packed linear layer computes with, for callers that take care of the input themselves.

    The input must be float32 in memory on the CPU, and nobody may want a derivative or watch what happens
    (:func:`proxconnect.base.eager.unobserved`), by hooks on all modules either. The call gives None for an
    input that the layer has to see.

    Returns:
        None where calling the layer does more than its kernel does: it has hooks, a ``forward`` of its own,
        or another class.
    """
    own = layer.__dict__
    if (
        type(layer) is not PackedLinear
        or own["_forward_hooks"]
        or own["_forward_pre_hooks"]
        or "forward" in own
    ):
        return None
    product = own["packed_forward"]
    return None if product is None else cast(PackedForward, product).prepared_call(layer)


def pack_layer_(
    layer: nn.Module, weights: Mapping[str, PackedWeight], activations: str | None = None
) -> None:
    """Make ``layer`` compute with ``weights`` instead of its parameters of these names, in place.

    Args:
        layer: a layer with float weights, hardened or plain, or without weights of these names; its other
            state, hooks and identity stay.
        weights: the packed weights by name; layers may share them.
        activations: None, ``"int8"`` or ``"int6"``, see :func:`proxconnect.load`.
    """
    for name in weights:
        layer._parameters.pop(name, None)
        layer._buffers.pop(scale_name(name), None)
    layer.__dict__.pop("_flat_weights", None)  # what recurrent layers keep of them
    layer.__class__ = packed_class(type(layer), tuple(weights))  # type: ignore[arg-type]
    layer.packed = nn.ModuleDict(weights)
    packed = cast(PackedLayer, layer)
    packed.activations = activations
    packed.lay_out()
    packed.loading = packed.register_load_state_dict_post_hook(_lay_out_again)  # type: ignore[no-untyped-call]


def unpack_layers_(model: nn.Module) -> None:
    """Undo :func:`pack_layer_` for every packed layer, in place: hardened layers, scales in buffers beside.

    Layers that shared a packed weight share the hardened one.
    """
    weights: dict[nn.Module, nn.Parameter] = {}
    for layer in [module for module in model.modules() if isinstance(module, PackedLayer)]:
        packed = layer.packed_weights()
        layer.loading.remove()
        for name in ("packed", "activations", "packed_forward", "loading"):
            delattr(layer, name)
        layer.__class__ = layer.plain  # type: ignore[assignment]
        for name, weight in packed.items():
            if weight not in weights:
                weights[weight] = nn.Parameter(weight(), requires_grad=False)
            layer.register_parameter(name, weights[weight])
            layer.register_buffer(scale_name(name), weight.scale)
        if isinstance(layer, nn.RNNBase):
            layer._init_flat_weights()
