"""Register the kernels as operators of torch: ``torch.ops.proxconnect.w1a32_linear`` and so on.

Compilers, traces, modes and transforms see one operator that takes tensors. Eager code calls the same
function without the dispatcher, and with operands that are laid out and checked already. Under autocast
floats are cast to float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from proxconnect import kernels
from proxconnect.base.eager import watched
from proxconnect.engine._operand_layout import ConvOperand, LinearOperand
from proxconnect.engine._operator_registration import refuse_gradients, register_flops, register_vmap
from proxconnect.format.bits import packed_width
from proxconnect.kernels import Affine, Thresholds

LIBRARY = torch.library.Library("proxconnect", "DEF")

Operand = LinearOperand | ConvOperand


class Operator(NamedTuple):
    """A kernel in two forms: ``run`` takes objects, ``overload`` is the operator of tensors and numbers."""

    run: Callable[..., Any]
    overload: Callable[..., Any]


def needs_dispatcher(*tensors: Tensor) -> bool:
    """Tell whether calls with these tensors must go through the dispatcher."""
    return watched(*tensors) or torch.is_autocast_enabled("cpu")


def pack(x: Tensor, kind: type[Operand]) -> Tensor:
    """Pack the signs of activations as the kernels of this kind of layer take them."""
    operator = _PACK[kind]
    return cast(Tensor, operator.overload(x) if needs_dispatcher(x) else operator.run(x))


def unpack(bits: Tensor, scale: Tensor, shape: Sequence[int], group: int | None) -> Tensor:
    """Unpack the weights of these bits, see :func:`proxconnect.kernels.unpack_weights`."""
    function = _UNPACK.overload if needs_dispatcher(bits, scale) else _UNPACK.run
    return cast(Tensor, function(bits, scale, shape, group))


def multiply(
    kernel: str, x: Tensor, weight: Operand, affine: Affine, residual: Tensor | None = None, **wrap: bool
) -> Tensor:
    """Compute the named product, then ``affine``; ``wrap`` is for w1a1 alone, whose ``x`` is packed."""
    operator = _PRODUCTS[kernel, type(weight)]
    named = wrap if affine.group is None else {"group": affine.group}
    if needs_dispatcher(x, affine.bias) or (residual is not None and needs_dispatcher(residual)):
        steps = affine.scale, affine.bias, affine.slope, residual
        return cast(Tensor, operator.overload(x, *weight.arguments, *steps, **named))
    return cast(Tensor, operator.run(x, weight, affine, residual, **wrap))


def multiply_to_signs(x: Tensor, weight: Operand, thresholds: Thresholds, wrap: bool) -> Tensor:
    """Compute the sums of packed ``x`` and ``weight``, then the decisions of ``thresholds``, packed."""
    operator = _SIGNS[type(weight)]
    if needs_dispatcher(x):
        decisions = thresholds.threshold, thresholds.flip, wrap
        return cast(Tensor, operator.overload(x, *weight.arguments, *decisions))
    return cast(Tensor, operator.run(x, weight, thresholds, wrap))


def define(
    name: str,
    arguments: str,
    function: Callable[..., Any],
    fake: Callable[..., Any],
    run: Callable[..., Any],
    returns: str = "Tensor",
) -> Operator:
    """Register an operator of these arguments; ``run`` is what eager code calls in its place."""
    LIBRARY.define(f"{name}({arguments}) -> {returns}")
    LIBRARY.impl(name, function, "CPU")
    torch.library.register_fake(f"proxconnect::{name}", fake, lib=LIBRARY)
    torch.library.register_autocast(f"proxconnect::{name}", "cpu", torch.float32, lib=LIBRARY)
    return Operator(run, getattr(torch.ops.proxconnect, name).default)


def _product(kernel: str, kind: type[Operand], product: Callable[..., Tensor]) -> Operator:
    packed, count = kernel == "w1a1", kind.schema.count(",") + 1

    def run(x: Tensor, weight: Operand, affine: Affine, residual: Tensor | None, **wrap: bool) -> Tensor:
        residual = None if residual is None else kind.dense(residual)
        return kind.result(product(kind.rows(x), *weight.operands, affine, residual, **wrap), x)

    def function(x: Tensor, *arguments: Any) -> Tensor:
        scale, bias, slope, residual, *last = arguments[count:]
        affine = Affine.over(scale, bias, slope, last[0] if last and not packed else None)
        named = {"wrap": last[0]} if packed else {}
        return run(x, kind.of(affine.n, *arguments[:count]), affine, residual, **named)

    def fake(x: Tensor, *arguments: Any) -> Tensor:
        size = kind.size(x, packed, *arguments[:count])
        bias = arguments[count + 1]
        y = x.new_empty((*size, bias.shape[-1]), dtype=torch.float32)
        return kind.result(y, x)

    steps = "Tensor scale, Tensor bias, Tensor? slope, Tensor? residual"
    if packed:
        steps += ", bool wrap"
    elif kind is LinearOperand:
        steps += ", int? group=None"
    name = f"{kernel}_{kind.name}"
    operator = define(name, f"Tensor x, {kind.schema}, {steps}", function, fake, run)
    register_vmap(LIBRARY, name, (0, count + 4), kind.fixed_rank)
    register_flops(name, count + 2, kind.inputs)
    refuse_gradients(LIBRARY, name)
    return operator


def _to_signs(kind: type[Operand], product: Callable[..., Tensor]) -> Operator:
    count = kind.schema.count(",") + 1

    def run(x: Tensor, weight: Operand, thresholds: Thresholds, wrap: bool) -> Tensor:
        bits = product(kind.rows(x), *weight.operands, thresholds, wrap=wrap)
        return kind.packed_result(bits, x)

    def function(x: Tensor, *arguments: Any) -> Tensor:
        threshold, flip, wrap = arguments[count:]
        thresholds = Thresholds.over(threshold, flip)
        return run(x, kind.of(thresholds.n, *arguments[:count]), thresholds, wrap)

    def fake(x: Tensor, *arguments: Any) -> Tensor:
        size = kind.size(x, True, *arguments[:count])
        return x.new_empty((*size, packed_width(arguments[count].shape[0])))

    steps = "Tensor threshold, Tensor flip, bool wrap"
    name = f"w1a1_{kind.name}_signs"
    operator = define(name, f"Tensor x, {kind.schema}, {steps}", function, fake, run)
    register_vmap(LIBRARY, name, (0,), kind.fixed_rank)
    register_flops(name, count + 1, kind.inputs)
    return operator


def _pack_rows(x: Tensor) -> Tensor:
    bits = kernels.pack_signs(LinearOperand.rows(x).contiguous())
    return LinearOperand.packed_result(bits, x)


def _packing(name: str, function: Callable[..., Tensor], channels: int) -> Operator:
    def fake(x: Tensor) -> Tensor:
        *size, last = x.movedim(channels, -1).shape
        return x.new_empty((*size, packed_width(last)), dtype=torch.uint8)

    operator = define(name, "Tensor x", function, fake, function)
    register_vmap(LIBRARY, name, (0,), fold=channels == 1)
    return operator


_PACK: dict[type[Operand], Operator] = {
    LinearOperand: _packing("pack_rows", _pack_rows, -1),
    ConvOperand: _packing("pack_pixels", kernels.pack_pixels, 1),
}
_UNPACK = define(
    "unpack_weights",
    "Tensor bits, Tensor scale, SymInt[] shape, int? group",
    kernels.unpack_weights,
    lambda bits, scale, shape, group: bits.new_empty(shape, dtype=torch.float32),
    kernels.unpack_weights,
)
register_vmap(LIBRARY, "unpack_weights", (), fold=False)
refuse_gradients(LIBRARY, "unpack_weights")
_PRODUCTS: dict[tuple[str, type[Operand]], Operator] = {
    (kernel, kind): _product(kernel, kind, product)
    for kernel, kind, product in (
        ("w1a1", LinearOperand, kernels.w1a1_affine),
        ("w1a1", ConvOperand, kernels.w1a1_conv_affine),
        ("w1a6", LinearOperand, partial(kernels.w1a8, bits=6)),
        ("w1a8", LinearOperand, kernels.w1a8),
        ("w1a8", ConvOperand, kernels.w1a8_conv),
        ("w1a32", LinearOperand, kernels.w1a32),
        ("w2a6", LinearOperand, partial(kernels.w1a8, bits=6)),
        ("w2a8", LinearOperand, kernels.w1a8),
        ("w2a32", LinearOperand, kernels.w1a32),
        ("w1a32", ConvOperand, kernels.w1a32_conv),
    )
}
_SIGNS: dict[type[Operand], Operator] = {
    LinearOperand: _to_signs(LinearOperand, kernels.w1a1_signs),
    ConvOperand: _to_signs(ConvOperand, kernels.w1a1_conv_signs),
}
