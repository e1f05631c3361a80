"""The closed list of operators that a graph may use: pure functions of their arguments, nothing else."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import torch

from proxconnect.errors import FormatError

# An entry "name" stands for the overload "default"; "name.a.b" for the overloads a and b.
_ATEN = """
linear matmul mm bmm addmm baddbmm mv dot outer einsum bilinear
conv1d.default.padding conv2d.default.padding conv3d.default.padding
conv_transpose1d conv_transpose2d.input conv_transpose3d.input
scaled_dot_product_attention lstm.input gru.input rnn_tanh.input rnn_relu.input embedding
lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell
max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d
adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d
batch_norm layer_norm group_norm rms_norm dropout feature_dropout alpha_dropout
relu relu6 gelu silu mish elu selu celu leaky_relu prelu hardtanh hardsigmoid hardswish softplus
sigmoid log_sigmoid tanh softshrink hardshrink glu threshold softmax.int log_softmax.int
pad constant_pad_nd reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d
pixel_shuffle pixel_unshuffle channel_shuffle im2col
upsample_nearest2d.vec upsample_bilinear2d.vec upsample_bicubic2d.vec
add.Tensor.Scalar sub.Tensor.Scalar mul.Tensor.Scalar div.Tensor.Scalar.Tensor_mode.Scalar_mode
rsub.Tensor.Scalar pow.Tensor_Tensor.Tensor_Scalar.Scalar true_divide.Tensor floor_divide.default.Scalar
remainder.Tensor.Scalar addcmul addcdiv neg abs sign exp expm1 log log1p log2 sqrt rsqrt reciprocal square
sin cos erf floor ceil round trunc clamp.default.Tensor clamp_min clamp_max maximum minimum lerp.Scalar.Tensor
eq.Tensor.Scalar ne.Tensor.Scalar lt.Tensor.Scalar le.Tensor.Scalar gt.Tensor.Scalar ge.Tensor.Scalar
logical_and logical_or logical_not logical_xor bitwise_and.Tensor bitwise_or.Tensor bitwise_not
__and__.Tensor __or__.Tensor isnan isinf
where.self.ScalarOther.ScalarSelf.Scalar masked_fill.Scalar.Tensor
mean.default.dim sum.default.dim_IntList amax amin max.default.dim min.default.dim prod.default.dim_int
argmax argmin var.correction var.dim std.correction std.dim var_mean.correction norm.Scalar.ScalarOpt_dim
linalg_vector_norm logsumexp cumsum all.default.dim any.default.dim topk sort
cat stack chunk split.Tensor split_with_sizes unbind.int tensor_split.sections
view reshape flatten.using_ints unflatten.int squeeze.default.dim.dims unsqueeze
transpose.int t numpy_T permute movedim.int.intlist
expand expand_as view_as repeat repeat_interleave.self_int tile
broadcast_to
select.int slice.Tensor narrow index_select index.Tensor gather flip roll tril triu diagonal
clone contiguous detach alias lift_fresh_copy type_as to.dtype to.dtype_layout to.other
zeros ones full arange.default.start.start_step linspace
zeros_like ones_like full_like new_zeros new_ones new_full scalar_tensor fill.Scalar fill.Tensor zero copy
sym_size.int
"""
_INTEGER: dict[str, Callable[..., Any]] = {
    f"integer.{name}": getattr(operator, name) for name in ("add", "sub", "mul", "floordiv", "mod", "neg")
}
GETITEM = "getitem"


def _aten_names() -> frozenset[str]:
    names = set()
    for entry in _ATEN.split():
        name, *overloads = entry.split(".")
        names |= {f"aten.{name}.{overload}" for overload in overloads or ["default"]}
    return frozenset(names)


OPERATORS = _aten_names() | _INTEGER.keys() | {GETITEM}


@functools.cache
def resolve(name: str) -> Callable[..., Any]:
    """The function behind an operator of the list.

    Raises:
        FormatError: the name is not on the list, or the installed torch has no such operator.

    >>> resolve("aten.relu.default")
    <OpOverload(op='aten.relu', overload='default')>
    """
    if name not in OPERATORS:
        raise FormatError(f"operator {name!r} is not on the closed list of operators; see docs/format.md")
    if name == GETITEM:
        return operator.getitem
    if name in _INTEGER:
        return _INTEGER[name]
    _, packet, overload = name.split(".")
    try:
        function: Callable[..., Any] = getattr(getattr(torch.ops.aten, packet), overload)
    except AttributeError:
        raise FormatError(
            f"torch {torch.__version__} has no operator {name!r}; install a newer torch"
        ) from None
    return function


def name_of(target: object) -> str | None:
    """The list's name of a call target in an exported graph; None for what is not on the list."""
    if target is operator.getitem:
        return GETITEM
    for name, function in _INTEGER.items():
        if target is function:
            return name
    name = str(target)
    return name if isinstance(target, torch._ops.OpOverload) and name in OPERATORS else None
