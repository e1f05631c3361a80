"""Hold a graph under rewriting, and answer the questions of the rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from proxconnect.engine._attention import bfloat16_attention, integer_attention
from proxconnect.engine._kernel_call import KernelCall, affine_of, lay_out
from proxconnect.engine._kernel_choice import UNPACKED, kernel_of
from proxconnect.engine._layer_geometry import LayerGeometry
from proxconnect.engine.fusion._dependence import Dependence
from proxconnect.engine.weight import PackedWeight
from proxconnect.graph import Node, Shape, TensorName, Value
from proxconnect.graph.draft import Draft
from proxconnect.graph.operators import resolve
from proxconnect.kernels import Affine
from proxconnect.quantizers import sign

SIGN, PACK, SUMS, PRODUCT, CHAIN, LOOK_UP = (
    f"proxconnect.{name}" for name in ("sign", "pack", "sums", "product", "chain", "look_up")
)
CONVOLUTION, ACTIVATION, ATTENTION, INTEGER_ATTENTION = (
    f"proxconnect.{name}" for name in ("convolution", "activation", "attention", "integer_attention")
)
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    SIGN: lambda x: sign(x, 1.0),
    PACK: lambda product, x: product.pack_input(x),
    SUMS: lambda product, x: product(x),
    PRODUCT: lambda product, x, residual: product(x, residual),
    CHAIN: lambda chain, x, residual: chain(x, residual),
    CONVOLUTION: lambda convolution, x, weight=None: convolution(x, weight),
    ACTIVATION: lambda activation, x: activation(x),
    ATTENTION: bfloat16_attention,
    INTEGER_ATTENTION: integer_attention,
    LOOK_UP: lambda weight, index: weight.rows(index),
}


def resolve_fused(op: str) -> Callable[..., Any]:
    """Find the function behind an operator of a rewritten graph."""
    return _FUNCTIONS[op] if op in _FUNCTIONS else resolve(op)


@dataclass
class Rewriting:
    """A graph under rewriting, with answers to the questions of the rules.

    Args:
        draft: the graph.
        weights: its binary weights by name.
        tensor: any other tensor by name.
        activations: None, ``"int8"`` or ``"int6"``.
        shapes: of the float32 values of the graph as it is stored.
        exact: decisions and floats are torch's, see :func:`proxconnect.load`.
        kernels: filled in: the kernel of each weight that has one.
        packs: filled in: the first value that holds an input packed in this form.
        unfaithful: filled in: nodes of chains that a kernel would round otherwise than torch does.
    """

    draft: Draft
    weights: Mapping[str, PackedWeight]
    tensor: Callable[[str], Tensor]
    activations: str | None
    shapes: Mapping[int, Shape]
    exact: bool = True
    kernels: dict[str, str] = field(default_factory=dict)
    packs: dict[object, int] = field(default_factory=dict)
    unfaithful: list[Node] = field(default_factory=list)

    @cached_property
    def dependence(self) -> Dependence:
        """The dependence of decisions on values; ask for it once binary products are recognised."""
        return Dependence(self.draft.nodes, self.shapes, self.exact)

    def constant(self, argument: object) -> Tensor | None:
        """Return the tensor that an argument names; None for everything else."""
        if isinstance(argument, TensorName) and argument.name not in self.weights:
            return self.tensor(argument.name)
        return None

    def shape(self, value: object) -> Shape | None:
        """Return the shape of a float32 value; None for everything else."""
        return self.shapes.get(value.index) if isinstance(value, Value) else None

    def laid_out(
        self, name: str, geometry: LayerGeometry | None, x: object, bias: Tensor | None = None
    ) -> KernelCall | None:
        """Lay out the product of ``x`` with a weight, its scale and a bias; None where no kernel fits."""
        weight, shape = self.weights.get(name), self.shape(x)
        if weight is None or geometry is None or shape is None or not weight.on_kernels:
            return None
        if geometry.operation != "linear" and len(shape) != len(
            weight.form.shape
        ):  # an image without a batch
            return None
        n = weight.form.rows.row_shape[0]
        if bias is not None and (bias.shape != (n,) or bias.dtype != torch.float32):
            return None
        kernel = kernel_of(weight.form, geometry, self.activations)
        if kernel == UNPACKED:
            return None
        self.kernels[name] = kernel
        return KernelCall(
            kernel,
            lay_out(weight, geometry),
            geometry.operation == "conv1d",
            affine_of(weight, bias),
        )

    def product(self, value: object, op: str = PRODUCT) -> tuple[KernelCall, Value, Value | None] | None:
        """Return the product to floats that ``value`` is, with input and residual, if read only here."""
        node = self.draft.node(value)
        if node is None or node.op != op or not isinstance(value, Value) or not self.draft.read_once(value):
            return None
        product, x, *residual = node.args
        return (
            (product, x, residual[0] if residual else None) if isinstance(product.epilogue, Affine) else None
        )

    def inexact_product(self, index: int, value: object) -> tuple[KernelCall, Value, Value | None] | None:
        """Return :meth:`product`, if the value ``index``, into which it folds, may be rounded otherwise."""
        return None if index in self.dependence.exact else self.product(value)

    def weight_shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a binary weight; empty for other tensors."""
        return self.weights[name].form.shape if name in self.weights else ()

    def has_no_zero(self, name: str) -> bool:
        """Tell whether the bits of a weight are its signs: a scale of zero makes a weight without a sign."""
        return name in self.weights and bool((self.weights[name].scale > 0).all())

    def scale_is_greatest(self, name: str, dimensions: tuple[object, ...]) -> bool:
        """Tell whether the maximum of a weight's size over these dimensions is each output's scale."""
        if name not in self.weights:
            return False
        form = self.weights[name].form
        rank = len(form.shape)
        over = {dimension % rank for dimension in dimensions if isinstance(dimension, int)}
        binary = form.bits == 1 and form.group is None and form.transposed is None
        return binary and len(over) == len(dimensions) and over == set(range(1, rank))

    def is_of_outputs(self, value: object, product: KernelCall) -> bool:
        """Tell whether a value beside a product has one number for each of the product's outputs."""
        wanted = (product.weight.n,) + (1,) * product.spatial_dimensions
        return self.shape(value) == tuple((size, size) for size in wanted)

    def is_per_channel(self, value: object, product: KernelCall) -> bool:
        """Tell whether dimension 1 of ``value``, a result of ``product``, holds the product's outputs."""
        return product.spatial_dimensions > 0 or len(self.shape(value) or ()) == 2
