"""Shapes of the most frequent operators, found a hundred times faster than by PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from proxconnect.errors import FormatError

# Operators whose result has the shape and dtype of the first argument if this holds floats and every other
# tensor among the arguments has the same shape and dtype.
_FLOATS = """
relu relu6 gelu silu mish elu selu celu leaky_relu hardtanh hardsigmoid hardswish softplus sigmoid
log_sigmoid tanh softshrink hardshrink threshold neg abs sign exp expm1 log log1p log2 sqrt rsqrt reciprocal
square sin cos erf floor ceil round trunc dropout clamp clamp_min clamp_max add sub mul div remainder
"""
ELEMENTWISE = frozenset(_FLOATS.split())


def elementwise(arguments: Mapping[str, Any], count: Callable[[int], None]) -> Tensor | None:
    """Return the result without data, or None if PyTorch has to find its shape and dtype."""
    first, *others = arguments.values()
    if not isinstance(first, Tensor) or not first.is_floating_point():
        return None
    for other in others:
        if isinstance(other, Tensor) and (other.dtype != first.dtype or other.shape != first.shape):
            return None
    count(first.numel())
    return first.new_empty(first.shape)


def batch_norm(arguments: Mapping[str, Any], count: Callable[[int], None]) -> Tensor | None:
    """Return the result without data, or None if the statistics of the batch are used.

    Raises:
        FormatError: a parameter or statistic does not have one number for each channel.
    """
    x, names = arguments["input"], ("weight", "bias", "running_mean", "running_var")
    channels = x.shape[1:2]
    for name in names:
        if arguments[name] is not None and arguments[name].shape != channels:
            raise FormatError(f"{name} has shape {list(arguments[name].shape)}; expected {list(channels)}")
    if any(arguments[name] is None for name in names[2:]):
        return None
    count(x.numel())
    result: Tensor = x.new_empty(x.shape)
    return result


def layer_norm(arguments: Mapping[str, Any], count: Callable[[int], None]) -> Tensor:
    """Return the result without data.

    Raises:
        FormatError: the input, weight or bias does not end in the shape that is normalized.
    """
    x, shape = arguments["input"], tuple(arguments["normalized_shape"])
    for name in ("weight", "bias"):
        if arguments[name] is not None and arguments[name].shape != shape:
            raise FormatError(f"{name} has shape {list(arguments[name].shape)}; expected {list(shape)}")
    if not shape or tuple(x.shape[-len(shape) :]) != shape:
        raise FormatError(f"input has shape {list(x.shape)}, which does not end in {list(shape)}")
    count(x.numel())
    result: Tensor = x.new_empty(x.shape)
    return result
