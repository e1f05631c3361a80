"""Checks of an operator's arguments that PyTorch does not make, before the operator runs.

These checks refuse sizes that PyTorch's CPU code does not check, numbers that overflow in it, and operators
with too many results. All other arguments of the operators on the list are safe.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from proxconnect.errors import FormatError
from proxconnect.graph._base_rules import named_arguments
from proxconnect.graph._base_shapes import Arguments, broadcast_shapes
from proxconnect.graph._elementwise import ELEMENTWISE, batch_norm, elementwise, layer_norm
from proxconnect.graph._recurrent import GRU, LSTM, RNN, recurrent_cell, recurrent_layer

MOST_MOVES = 65_535  # stride, padding and dilation of a convolution
MOST_PARTS = 65_536  # tensors that one operator makes
_MOST = 2**31 - 1  # of whole numbers; products of two fit in 64 bits
# A slice may end anywhere: torch.export writes 2**63 - 1 for "to the end".
_UNBOUNDED = {("slice", "start"), ("slice", "end")}


class Count(Protocol):
    """A function that adds a number of multiply-accumulates to a count."""

    def __call__(self, operations: int) -> None: ...


Rule = Callable[[Arguments, Count], Any]


def apply_rules(function: torch._ops.OpOverload, args: Any, kwargs: Mapping[str, Any], count: Count) -> Any:
    """Check the arguments, and return the result if a rule makes it, else None; tensors hold no data.

    Raises:
        FormatError: the operator must not be called with an argument.
    """
    arguments = named_arguments(function, args, kwargs)
    name = function._schema.name.removeprefix("aten::")
    whole, tensors = _checked(function)
    for argument in whole:
        _check_whole(argument, arguments[argument])
    for argument in tensors:
        if not isinstance(arguments[argument], Tensor):
            raise FormatError(f"argument {argument!r} is a number; expected a tensor")
    rule = _RULES.get(name)
    return None if rule is None else rule(arguments, count)


@functools.cache
def _checked(function: torch._ops.OpOverload) -> tuple[list[str], list[str]]:
    """List the arguments that are bounded whole numbers, and those that must be tensors."""
    name = function._schema.name.removeprefix("aten::")
    kinds = {argument.name: str(argument.real_type) for argument in function._schema.arguments}
    whole = [argument for argument, kind in kinds.items() if kind in _WHOLE]
    wants_tensors = name in _RULES and name not in _TAKE_NUMBERS
    return (
        [argument for argument in whole if (name, argument) not in _UNBOUNDED],
        [argument for argument, kind in kinds.items() if kind == "Tensor" and wants_tensors],
    )


_WHOLE = {"int", "Optional[int]", "List[int]", "Optional[List[int]]"}


def _check_whole(name: str, value: Any) -> None:
    for number in value if isinstance(value, tuple | list) else (value,):
        if type(number) is int and abs(number) > _MOST:
            raise FormatError(f"argument {name!r} is {number}; expected at most {_MOST} in size")


def _linear(arguments: Arguments, count: Count) -> Tensor | None:
    """Return the result without data, or None if PyTorch has to find it, or the error."""
    x, weight, bias = arguments["input"], arguments["weight"], arguments["bias"]
    if weight.ndim != 2 or x.ndim < 2 or x.shape[-1] != weight.shape[1] or x.dtype != weight.dtype:
        return None
    if bias is not None and (bias.shape != weight.shape[:1] or bias.dtype != x.dtype):
        return None
    result: Tensor = x.new_empty((*x.shape[:-1], len(weight)))
    count(x.numel() + weight.numel() + result.numel() * weight.shape[1])
    return result


def _convolution(arguments: Arguments, count: Count) -> None:
    x, weight, bias = arguments["input"], arguments["weight"], arguments["bias"]
    if not {tensor.dtype for tensor in (x, bias) if tensor is not None} <= {weight.dtype}:
        raise FormatError("input, weight and bias are of different dtypes")
    for name, least in (("stride", 1), ("padding", 0), ("dilation", 1), ("output_padding", 0)):
        moves = arguments.get(name, ())
        for move in () if isinstance(moves, str) else moves:
            if not least <= move <= MOST_MOVES:
                raise FormatError(f"argument {name!r} is {list(moves)}; expected {least} to {MOST_MOVES}")
    if arguments["groups"] < 1:
        raise FormatError(f"argument 'groups' is {arguments['groups']}; expected at least 1")


def _parts(arguments: Arguments, count: Count) -> None:
    x, dim = arguments["self"], arguments["dim"]
    size = x.shape[dim] if -x.ndim <= dim < x.ndim else 0
    parts = size  # of unbind
    for name in ("chunks", "sections"):
        parts = arguments.get(name, parts)
    if "split_size" in arguments:
        parts = math.ceil(size / max(1, arguments["split_size"]))
    if parts > MOST_PARTS:
        raise FormatError(f"the result has {parts} parts; expected at most {MOST_PARTS}")


def _attention(arguments: Arguments, count: Count) -> Tensor:
    """Check that there are as many values as keys: PyTorch's CPU kernel does not."""
    query, key, value = (arguments[name] for name in ("query", "key", "value"))
    mask, ranks = arguments["attn_mask"], {query.ndim, key.ndim, value.ndim}
    if len(ranks) > 1 or query.ndim < 2 or not query.is_floating_point():
        raise FormatError("query, key and value are not floats of one rank, at least 2")
    if not query.dtype == key.dtype == value.dtype:
        raise FormatError("query, key and value are of different dtypes")
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise FormatError(
            f"shapes {list(query.shape)}, {list(key.shape)} and {list(value.shape)} of query, key and value "
            "do not fit together"
        )
    heads = [tuple(tensor.shape[:-2]) for tensor in (query, key, value)]
    if arguments["enable_gqa"] and query.ndim > 2:
        if not all(size[-1] and heads[0][-1] % size[-1] == 0 for size in heads[1:]):
            raise FormatError("heads of key and value do not divide those of the query")
        heads = [(*size[:-1], heads[0][-1]) for size in heads]
    batch = broadcast_shapes(heads)
    if batch is None:
        raise FormatError(f"batches {heads} of query, key and value do not fit together")
    scores = (*batch, query.shape[-2], key.shape[-2])
    if mask is not None:
        if mask.dtype not in (torch.bool, torch.float32, query.dtype):
            raise FormatError("attn_mask is neither bool nor of the dtype of the query")
        if mask.ndim < 2 or broadcast_shapes([mask.shape, scores]) != scores:
            raise FormatError(f"attn_mask of shape {list(mask.shape)} does not fit scores of {list(scores)}")
    count(math.prod(scores) * (query.shape[-1] + value.shape[-1]))
    result: Tensor = query.new_empty((*batch, query.shape[-2], value.shape[-1]))
    return result


def _index(arguments: Arguments, count: Count) -> None:
    for index in arguments["indices"]:
        if isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8):
            raise FormatError("an index of bool makes a result whose size depends on data")


def _division(arguments: Arguments, count: Count) -> Tensor | None:
    """Refuse a division of whole numbers by -1: the processor traps on the smallest whole number."""
    divided, divisor = arguments["self"], arguments["other"]
    dtype = torch.result_type(divided, divisor)
    if arguments.get("rounding_mode") != "trunc" or dtype.is_floating_point:
        return elementwise(arguments, count)
    if isinstance(divisor, Tensor) or divisor == -1:
        raise FormatError("rounding_mode 'trunc' divides whole numbers by a number alone, and not by -1")
    return None


def _grid_sampler(arguments: Arguments, count: Count) -> None:
    """Refuse an unknown mode, for which PyTorch's CPU code returns uninitialised memory."""
    for name, most in (("interpolation_mode", 2 if arguments["input"].ndim == 4 else 1), ("padding_mode", 2)):
        if not 0 <= arguments[name] <= most:
            raise FormatError(f"argument {name!r} is {arguments[name]}; expected 0 to {most}")


def _view(arguments: Arguments, count: Count) -> Tensor:
    """Return the result of a reshape: it has the shape of a view, even where a view is not possible."""
    other = arguments.get("other")
    return torch.reshape(arguments["self"], arguments["size"] if other is None else other.shape)


_TAKE_NUMBERS = ELEMENTWISE | {"divide"}
_RECURRENT = {"lstm": LSTM, "gru": GRU, "rnn_tanh": RNN, "rnn_relu": RNN}
_RULES: dict[str, Rule] = {
    **dict.fromkeys(ELEMENTWISE, elementwise),
    **dict.fromkeys((f"conv{d}d" for d in (1, 2, 3)), _convolution),
    **dict.fromkeys((f"conv_transpose{d}d" for d in (1, 2, 3)), _convolution),
    **dict.fromkeys(("chunk", "split", "unbind", "tensor_split"), _parts),
    **dict.fromkeys(("view", "view_as"), _view),
    **{name: partial(recurrent_layer, gates=gates) for name, gates in _RECURRENT.items()},
    **{f"{name}_cell": partial(recurrent_cell, gates=gates) for name, gates in _RECURRENT.items()},
    "linear": _linear,
    "scaled_dot_product_attention": _attention,
    "batch_norm": batch_norm,
    "layer_norm": layer_norm,
    "index": _index,
    **dict.fromkeys(("div", "divide"), _division),
    "grid_sampler": _grid_sampler,
}
