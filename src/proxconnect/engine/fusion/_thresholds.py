"""Find thresholds on integer sums that decide as torch's own operators do."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from proxconnect.engine._kernel_call import KernelCall
from proxconnect.graph import Node, TensorName, Value
from proxconnect.graph.operators import resolve
from proxconnect.kernels import Thresholds

# Operators that never fall, or never rise, in their first argument: each rounds a monotone function, and
# rounding is monotone.
_MONOTONE = {f"aten.{name}.Tensor" for name in ("add", "sub", "mul", "div")}
_MONOTONE |= {
    f"aten.{name}.default" for name in ("batch_norm", "prelu", "relu", "hardtanh", "relu6", "dropout")
}
_SLOPES = ("aten.prelu.default",)
_PER_CHANNEL = ("aten.batch_norm.default", *_SLOPES)


def thresholds(
    product: KernelCall, chain: Sequence[Node], tensor: Callable[[str], Tensor], per_channel: bool
) -> Thresholds | None:
    """Find thresholds that decide on a sum as ``sign(chain(affine(sum)))`` does; None where none do.

    The decision turns at most once as the sum grows. Bisection finds where, with decisions by the operators
    themselves, for all outputs at once.

    Args:
        product: whose sums and affine function come first.
        chain: the operators between, each reading the one before as its first argument.
        tensor: the tensors of the network by name.
        per_channel: whether dimension 1 is that of the outputs, for operators that take it so.
    """
    n, operators = product.weight.n, []
    for node in chain:
        if node.op not in _MONOTONE or node.kwargs:
            return None
        args = [tensor(a.name) if isinstance(a, TensorName) else a for a in node.args[1:]]
        of_channels = node.op in _PER_CHANNEL and not (node.op in _SLOPES and args[0].numel() == 1)
        if (of_channels and not per_channel) or any(map(_is_value, args)):
            return None
        if node.op in _SLOPES and (args[0] < 0).any():
            return None
        if node.op == "aten.batch_norm.default" and args[2] is None:  # statistics of the input itself
            return None
        operators.append((resolve(node.op), args))

    def result(sums: Tensor) -> Tensor:
        y = sums.to(torch.float32) * product.affine.scale + product.affine.bias
        y = y.view(1, n, *(1,) * product.spatial_dimensions)
        for function, args in operators:
            y = function(y, *args)
        return y

    for extreme in (-product.inputs, 0, product.inputs):
        y = result(torch.full((n,), extreme, dtype=torch.int64, device="cpu"))
        if y.numel() != n or not y.isfinite().all():  # something else than channels differs, or overflows
            return None
    return Thresholds.deciding(lambda sums: result(sums).flatten() >= 0, n, product.inputs, wrap=product.wrap)


def _is_value(argument: object) -> bool:
    return isinstance(argument, Value)
