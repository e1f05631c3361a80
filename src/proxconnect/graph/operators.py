"""The closed list of operators that a graph may use; all are pure functions of their arguments."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import torch

from proxconnect.errors import FormatError, shown

# An entry "name" stands for the overload "default"; "name.a.b" for the overloads a and b.
_ATEN = """
linear matmul mm bmm addmm addmv addbmm baddbmm mv dot vdot inner outer kron tensordot einsum bilinear
linalg_vecdot linalg_matmul linalg_multi_dot cosine_similarity pairwise_distance cdist
conv1d.default.padding conv2d.default.padding conv3d.default.padding
conv_transpose1d conv_transpose2d.input conv_transpose3d.input
scaled_dot_product_attention lstm.input gru.input rnn_tanh.input rnn_relu.input embedding
lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell
max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d
max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices max_unpool2d max_unpool3d
adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d
adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d
batch_norm instance_norm layer_norm group_norm rms_norm
dropout feature_dropout alpha_dropout feature_alpha_dropout
relu relu6 rrelu gelu silu mish elu selu celu leaky_relu prelu hardtanh hardsigmoid hardswish softplus
sigmoid log_sigmoid tanh softshrink hardshrink glu threshold softmax.int log_softmax.int
pad constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d
replication_pad1d replication_pad2d replication_pad3d
pixel_shuffle pixel_unshuffle channel_shuffle im2col col2im unfold grid_sampler affine_grid_generator
upsample_nearest1d.vec upsample_nearest2d.vec upsample_nearest3d.vec
_upsample_nearest_exact1d.vec _upsample_nearest_exact2d.vec _upsample_nearest_exact3d.vec
upsample_linear1d.vec upsample_bilinear2d.vec upsample_bicubic2d.vec upsample_trilinear3d.vec
_upsample_bilinear2d_aa.vec _upsample_bicubic2d_aa.vec
add.Tensor.Scalar sub.Tensor.Scalar mul.Tensor.Scalar div.Tensor.Scalar.Tensor_mode.Scalar_mode
subtract.Tensor.Scalar multiply.Tensor.Scalar divide.Tensor.Scalar.Tensor_mode.Scalar_mode
rsub.Tensor.Scalar pow.Tensor_Tensor.Tensor_Scalar.Scalar float_power.Tensor_Tensor.Tensor_Scalar
true_divide.Tensor.Scalar floor_divide.default.Scalar remainder.Tensor.Scalar fmod.Tensor.Scalar
addcmul addcdiv neg negative abs absolute positive sign sgn signbit copysign.Tensor.Scalar
exp exp2 expm1 log log1p log2 log10 logaddexp logaddexp2 logit xlogy.Tensor.Scalar_Self.Scalar_Other
sqrt rsqrt reciprocal square hypot erf erfc erfinv lgamma sinc
sin cos tan asin acos atan atan2 sinh cosh tanh asinh acosh atanh arctan arctan2 rad2deg deg2rad
floor ceil round round.decimals trunc fix frac nan_to_num heaviside
clamp.default.Tensor clip.default.Tensor clamp_min.default.Tensor clamp_max.default.Tensor
maximum minimum max.other min.other fmax fmin lerp.Scalar.Tensor
eq.Tensor.Scalar ne.Tensor.Scalar lt.Tensor.Scalar le.Tensor.Scalar gt.Tensor.Scalar ge.Tensor.Scalar
not_equal.Tensor.Scalar less.Tensor.Scalar less_equal.Tensor.Scalar
greater.Tensor.Scalar greater_equal.Tensor.Scalar isclose isin.Tensor_Tensor
logical_and logical_or logical_not logical_xor bitwise_not
bitwise_and.Tensor.Scalar bitwise_or.Tensor.Scalar bitwise_xor.Tensor.Scalar
__and__.Tensor.Scalar __or__.Tensor.Scalar __xor__.Tensor.Scalar
bitwise_left_shift.Tensor.Tensor_Scalar bitwise_right_shift.Tensor.Tensor_Scalar
__lshift__.Tensor.Scalar __rshift__.Tensor.Scalar isnan isinf isfinite isposinf isneginf
where.self.Scalar.ScalarOther.ScalarSelf masked_fill.Scalar.Tensor masked_scatter
mean.default.dim sum.default.dim_IntList nanmean nansum amax amin aminmax max.default.dim min.default.dim
prod.default.dim_int argmax argmin median.default.dim kthvalue topk sort.default.stable argsort.default.stable
msort var.default.correction.dim std.default.correction.dim
var_mean.default.correction.dim std_mean.default.correction.dim
norm.Scalar.ScalarOpt_dim.ScalarOpt_dtype.ScalarOpt_dim_dtype frobenius_norm.dim
linalg_norm linalg_vector_norm linalg_matrix_norm
logsumexp cumsum cumprod logcumsumexp cummax cummin all.default.dim.dims any.default.dim.dims
count_nonzero.default.dim_IntList diff trace
cat concat concatenate stack hstack vstack dstack column_stack block_diag
chunk split.Tensor split.sizes split_with_sizes unbind.int tensor_split.sections tensor_split.indices
unsafe_chunk unsafe_split.Tensor unsafe_split_with_sizes
view view_as reshape reshape_as flatten.using_ints unflatten.int ravel squeeze.default.dim.dims unsqueeze
atleast_1d atleast_2d atleast_3d transpose.int swapaxes swapdims t numpy_T mT mH adjoint permute
movedim.int.intlist moveaxis.int.intlist
expand expand_as broadcast_to broadcast_tensors meshgrid.default.indexing repeat tile
repeat_interleave.self_int
select.int slice.Tensor narrow index_select index.Tensor gather take take_along_dim
scatter.src.value scatter_add scatter_reduce.two index_put index_add index_copy
index_fill.int_Scalar.int_Tensor
select_scatter slice_scatter diagonal_scatter bucketize.Tensor
flip fliplr flipud roll rot90 tril triu diagonal diag diag_embed linalg_diagonal cross linalg_cross
fft_fft fft_ifft fft_rfft fft_irfft fft_fft2 fft_ifft2 fft_rfft2 fft_irfft2
fft_fftn fft_ifftn fft_rfftn fft_irfftn
real imag angle conj _conj resolve_conj resolve_neg complex polar view_as_real view_as_complex
clone contiguous detach alias lift_fresh_copy type_as to.dtype to.dtype_layout to.other
zeros ones full arange.default.start.start_step linspace eye.default.m tril_indices triu_indices
zeros_like ones_like full_like new_zeros new_ones new_full scalar_tensor fill.Scalar fill.Tensor zero copy
sym_size.int sym_numel
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
    """Return the function of an operator on the list.

    Raises:
        FormatError: the name is not on the list, or the installed torch has no such operator.

    >>> resolve("aten.relu.default")
    <OpOverload(op='aten.relu', overload='default')>
    """
    if name not in OPERATORS:
        raise FormatError(
            f"operator {shown(name)} is not on the closed list of operators; see docs/format.md"
        )
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
    """Return the name on the list of a call target in an exported graph; None if it is not on the list."""
    if target is operator.getitem:
        return GETITEM
    for name, function in _INTEGER.items():
        if target is function:
            return name
    name = str(target)
    return name if isinstance(target, torch._ops.OpOverload) and name in OPERATORS else None
