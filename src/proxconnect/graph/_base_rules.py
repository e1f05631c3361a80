"""Results of base operators on tensors without data, where PyTorch finds them by slow Python code.

That code imports PyTorch's compiler or sympy at its first use, which takes seconds. Here a formula says what
shape a result has. A call with a few numbers says of what dtype it is, where the formula does not.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from proxconnect.graph import _base_shapes as shapes
from proxconnect.graph._base_shapes import Arguments, Shape


class _Rule(NamedTuple):
    """The shape of all results of an operator, and their dtypes: None for that of the first tensor."""

    shape: Callable[[Arguments], Shape]
    dtypes: tuple[torch.dtype | None, ...] = ()


def base_result(function: torch._ops.OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Return what the operator makes of tensors without data, or None if PyTorch has to find it."""
    rule = _rule(function)
    if rule is None:
        return None
    arguments = named_arguments(function, args, kwargs)
    given = shapes.tensors(arguments.values())
    if not any(x.is_meta for x in given) and arguments.get("device") != torch.device("meta"):
        return None
    shape = rule.shape(arguments)
    if shape is None:
        return None
    dtypes = [dtype or given[0].dtype for dtype in rule.dtypes] or _sampled(function, args, kwargs)
    results = tuple(torch.empty(shape, dtype=dtype, device="meta") for dtype in dtypes)
    return results[0] if len(results) == 1 else results


def named_arguments(function: torch._ops.OpOverload, args: Any, kwargs: Mapping[str, Any]) -> Arguments:
    """Name all arguments of a call, with the defaults of those that were not given."""
    given = _defaults(function)
    return given | dict(zip(given, args, strict=False)) | dict(kwargs)


@functools.cache
def _defaults(function: torch._ops.OpOverload) -> dict[str, Any]:
    return {argument.name: argument.default_value for argument in function._schema.arguments}


@functools.cache
def _rule(function: torch._ops.OpOverload) -> _Rule | None:
    if function._schema.is_mutable or function.is_view or function.namespace != "aten":
        return None
    if torch.Tag.pointwise in function.tags:
        return _Rule(shapes.broadcast)
    return _RULES.get(function._schema.name.removeprefix("aten::"))


def _sampled(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> list[torch.dtype]:
    """Find the dtypes of an operator's results by calling it with few numbers."""
    results = function(*map(_sample, args), **{name: _sample(value) for name, value in kwargs.items()})
    return [x.dtype for x in shapes.tensors([results])]


def _sample(argument: Any) -> Any:
    """Make a tensor in memory with as many dimensions, all of size 2."""
    if isinstance(argument, Tensor):
        sizes = (2,) * argument.ndim
        return torch.ones(sizes, dtype=argument.dtype, device="cpu") if argument.is_meta else argument
    return [_sample(each) for each in argument] if isinstance(argument, tuple | list) else argument


_TABLE: tuple[tuple[_Rule, str], ...] = (
    (_Rule(shapes.broadcast), "hardswish _prelu_kernel floor_divide rsub masked_fill"),
    (
        _Rule(shapes.reduced),
        """mean sum nansum prod amax amin aminmax all any var std var_mean std_mean count_nonzero norm
        linalg_vector_norm logsumexp""",
    ),
    (
        _Rule(shapes.unchanged),
        """zeros_like ones_like cumsum cumprod cummax cummin logcumsumexp sort
        _softmax _log_softmax _safe_softmax""",
    ),
    (
        _Rule(shapes.unchanged, (None,)),
        """flip roll tril triu index_fill scatter scatter_add scatter_reduce select_scatter slice_scatter
        diagonal_scatter index_put index_add""",
    ),
    (_Rule(shapes.product, (None,)), "mm bmm addmm baddbmm"),
    (_Rule(shapes.counted, (torch.int64,)), "arange"),
    (_Rule(shapes.indexed, (None,)), "index"),
    (_Rule(shapes.joined), "cat"),
    (_Rule(shapes.stacked), "stack"),
    (
        _Rule(shapes.resized, (None,)),
        """upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d
        _upsample_nearest_exact2d _upsample_nearest_exact3d upsample_linear1d upsample_bilinear2d
        upsample_bicubic2d upsample_trilinear3d _upsample_bilinear2d_aa _upsample_bicubic2d_aa""",
    ),
    (_Rule(shapes.convolved, (None,)), "convolution"),
    (_Rule(shapes.pooled, (None, torch.int64)), "max_pool2d_with_indices"),
    (_Rule(shapes.pooled, (None,)), "avg_pool2d"),
)
_RULES = {name: rule for rule, names in _TABLE for name in names.split()}
