"""Tell transforms and counters of torch how to treat the kernels' operators."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.library import Library
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import register_flop_formula

from proxconnect.errors import ProxConnectError


def register_vmap(library: Library, name: str, with_batch: Sequence[int], fold: bool) -> None:
    """Let ``torch.vmap`` run an operator: once, if all that is mapped has a batch, else once for each.

    Args:
        library: the operator's.
        name: the operator's.
        with_batch: which of its arguments are activations, with their samples in front.
        fold: their number of dimensions is fixed, so that the mapped one has to become part of the batch.
    """
    operator = getattr(torch.ops.proxconnect, name).default

    def mapped_first(argument: Tensor, dimension: int) -> Tensor:
        first = argument.movedim(dimension, 0)
        return first.flatten(0, 1) if fold else first

    def rule(info: Any, in_dims: Sequence[Any], *arguments: Any) -> tuple[Any, Any]:
        mapped = {i: dim for i, dim in enumerate(in_dims) if isinstance(dim, int)}
        activations = {i for i in with_batch if isinstance(arguments[i], Tensor)}
        if mapped.keys() == activations:
            whole = [mapped_first(a, mapped[i]) if i in mapped else a for i, a in enumerate(arguments)]
            output = operator(*whole)
            unfolded = partial(Tensor.unflatten, dim=0, sizes=(info.batch_size, -1))
            return (tree_map(unfolded, output) if fold else output), tree_map(lambda _: 0, output)
        outputs = [
            operator(
                *(
                    a.select(mapped[i], row).contiguous() if i in mapped else a
                    for i, a in enumerate(arguments)
                )
            )
            for row in range(info.batch_size)
        ]
        stacked = tree_map(lambda *rows: torch.stack(rows), *outputs)
        return stacked, tree_map(lambda _: 0, stacked)

    torch.library.register_vmap(f"proxconnect::{name}", rule, lib=library)


def register_flops(name: str, channels: int, inputs: Callable[..., int]) -> None:
    """Count a product's multiplications and additions as ``FlopCounterMode`` counts those of torch.

    Args:
        name: the operator's.
        channels: which argument holds numbers for each output channel, in its last dimension.
        inputs: how many inputs a sum has, from the shapes and numbers that describe the weight.
    """

    @register_flop_formula(getattr(torch.ops.proxconnect, name))
    def flops(x: Sequence[int], *arguments: Any, out_shape: Any, **named: Any) -> int:
        *_, n = arguments[channels - 1]
        # Channels come last in bits, eight to a byte, and in dimension 1 of images of floats.
        if name.endswith("_chain"):  # floats and bits
            outputs: int = math.prod(out_shape[1][:-1]) * n
        else:
            outputs = math.prod(out_shape[:-1]) * n if name.endswith("_signs") else math.prod(out_shape)
        return 2 * outputs * inputs(*arguments[: channels - 1])


def refuse_gradients(library: Library, name: str) -> None:
    """Make a backward pass through the operator an error; layers and networks do without it then."""

    def backward(ctx: Any, *gradients: Tensor) -> None:
        raise ProxConnectError(
            f"proxconnect::{name} has no gradient; packed layers and networks unpack their weights where one "
            "is wanted: call them, or the operator under torch.no_grad()"
        )

    torch.library.register_autograd(f"proxconnect::{name}", backward, lib=library)
