"""Register chains as operators of torch: behind binary products, and over floats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from proxconnect import kernels
from proxconnect.engine._operand_layout import ConvOperand, LinearOperand
from proxconnect.engine._operator_registration import refuse_gradients, register_flops, register_vmap
from proxconnect.engine._torch_operators import LIBRARY, Operand, Operator, define, needs_dispatcher
from proxconnect.format.bits import packed_width
from proxconnect.kernels import Chain, Outputs


def multiply_to_chain(
    x: Tensor, weight: Operand, chain: Chain, residual: Tensor | None, wrap: bool
) -> Outputs:
    """Compute the sums of packed ``x`` and ``weight``, then the steps of ``chain``."""
    operator = _CHAINS[type(weight)]
    if needs_dispatcher(x, chain.constants) or (residual is not None and needs_dispatcher(residual)):
        steps = chain.kinds, chain.constants, residual, wrap, chain.floats, chain.signs
        return _wanted(chain, operator.overload(x, *weight.arguments, *steps))
    return cast(Outputs, operator.run(x, weight, chain, residual, wrap))


def take_through(x: Tensor, kind: type[Operand], chain: Chain, residual: Tensor | None) -> Outputs:
    """Take floats, laid out as this kind of layer gives them, through the steps of ``chain``."""
    operator = _FLOAT_CHAINS[kind]
    if needs_dispatcher(x, chain.constants) or (residual is not None and needs_dispatcher(residual)):
        steps = chain.kinds, chain.constants, residual, chain.floats, chain.signs
        return _wanted(chain, operator.overload(x, *steps))
    return cast(Outputs, operator.run(x, chain, residual))


def _wanted(chain: Chain, outputs: Sequence[Tensor]) -> Outputs:
    """Leave out the output of an operator that ``chain`` does not ask for."""
    floats, signs = outputs
    return Outputs(floats if chain.floats else None, signs if chain.signs else None)


_OUTPUTS = "(Tensor floats, Tensor signs)"  # those that are not wanted have no channels


def _shaped(outputs: Outputs, kind: type[Operand], x: Tensor) -> Outputs:
    """Reshape what a kernel made of ``x`` to the layer's outputs."""
    floats, signs = outputs
    return Outputs(
        None if floats is None else kind.result(floats, x),
        None if signs is None else kind.packed_result(signs, x),
    )


def _operators_outputs(outputs: Outputs, kind: type[Operand], x: Tensor, rows: Sequence[Any]) -> Any:
    """Put a tensor without channels in the place of an output that is not wanted."""
    floats, signs = outputs
    if floats is None:
        floats = kind.result(x.new_empty((*rows, 0), dtype=torch.float32), x)
    return floats, x.new_empty((*rows, 0), dtype=torch.uint8) if signs is None else signs


def _fake_outputs(kind: type[Operand], x: Tensor, rows: Sequence[Any], n: Any, *wanted: bool) -> Any:
    floats, signs = wanted
    y = x.new_empty((*rows, n if floats else 0), dtype=torch.float32)
    return kind.result(y, x), x.new_empty((*rows, packed_width(n) if signs else 0), dtype=torch.uint8)


def _product_chain(kind: type[Operand], product: Callable[..., Outputs]) -> Operator:
    count = kind.schema.count(",") + 1

    def run(x: Tensor, weight: Operand, chain: Chain, residual: Tensor | None, wrap: bool) -> Outputs:
        residual = None if residual is None else kind.dense(residual)
        return _shaped(product(kind.rows(x), *weight.operands, chain, residual, wrap=wrap), kind, x)

    def function(x: Tensor, *arguments: Any) -> Any:
        kinds, constants, residual, wrap, floats, signs = arguments[count:]
        chain = Chain.over(kinds, constants, floats=floats, signs=signs)
        weight = kind.of(chain.n, *arguments[:count])
        rows = kind.size(x, True, *arguments[:count])
        return _operators_outputs(run(x, weight, chain, residual, wrap), kind, x, rows)

    def fake(x: Tensor, *arguments: Any) -> Any:
        _, constants, _, _, *wanted = arguments[count:]
        return _fake_outputs(kind, x, kind.size(x, True, *arguments[:count]), constants.shape[1], *wanted)

    steps = "int[] steps, Tensor constants, Tensor? residual, bool wrap, bool floats, bool signs"
    name = f"w1a1_{kind.name}_chain"
    operator = define(name, f"Tensor x, {kind.schema}, {steps}", function, fake, run, _OUTPUTS)
    register_vmap(LIBRARY, name, (0, count + 3), kind.fixed_rank)
    register_flops(name, count + 2, kind.inputs)
    refuse_gradients(LIBRARY, name)
    return operator


def _float_chain(kind: type[Operand]) -> Operator:
    def run(x: Tensor, chain: Chain, residual: Tensor | None) -> Outputs:
        rows = kind.dense(x)
        residual = None if residual is None else kind.dense(residual).view(-1, chain.n)
        floats, signs = kernels.chain_rows(rows.view(-1, chain.n), chain, residual)
        size = rows.shape[:-1]
        floats = None if floats is None else floats.view(*size, chain.n)
        signs = None if signs is None else signs.view(*size, packed_width(chain.n))
        return _shaped(Outputs(floats, signs), kind, x)

    def rows_of(x: Tensor) -> Sequence[Any]:
        return x.movedim(kind.channels, -1).shape[:-1]

    def function(x: Tensor, kinds: Any, constants: Tensor, residual: Tensor | None, *wanted: bool) -> Any:
        chain = Chain.over(kinds, constants, floats=wanted[0], signs=wanted[1])
        return _operators_outputs(run(x, chain, residual), kind, x, rows_of(x))

    def fake(x: Tensor, kinds: Any, constants: Tensor, residual: Tensor | None, *wanted: bool) -> Any:
        return _fake_outputs(kind, x, rows_of(x), constants.shape[1], *wanted)

    steps = "int[] steps, Tensor constants, Tensor? residual, bool floats, bool signs"
    name = f"chain_{kind.name}"
    operator = define(name, f"Tensor x, {steps}", function, fake, run, _OUTPUTS)
    register_vmap(LIBRARY, name, (0, 3), kind.fixed_rank)
    refuse_gradients(LIBRARY, name)
    return operator


_CHAINS: dict[type[Operand], Operator] = {
    LinearOperand: _product_chain(LinearOperand, kernels.w1a1_chain),
    ConvOperand: _product_chain(ConvOperand, kernels.w1a1_conv_chain),
}
_FLOAT_CHAINS: dict[type[Operand], Operator] = {
    kind: _float_chain(kind) for kind in (LinearOperand, ConvOperand)
}
