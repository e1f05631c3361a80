"""The operators of docs/format.md in numpy, on which the second reader runs networks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from second_reader import Packed, RefusedError, require

Array = np.ndarray
OPERATORS: dict[str, Callable[..., Any]] = {}
FLOATS = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


def operator(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a function to operators; a name without a dot has the overload ``default``."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in names:
            plain = "." in name or name == "getitem"
            OPERATORS[name if name.startswith(("integer", "getitem")) else f"aten.{name}"] = function
            if not plain:
                OPERATORS[f"aten.{name}.default"] = OPERATORS.pop(f"aten.{name}")
        return function

    return register


def run(packed: Packed, inputs: dict[str, Array]) -> list[Any]:
    """Run the graph, or its variant of these inputs, and return the leaves of its output in order."""
    graph = packed.graph
    require(graph is not None, "no graph")
    names = [given["name"] for given in packed.header["graph"]["inputs"]]
    forms = [{**graph, "inputs": names}, *graph.get("variants", [])]
    given = [name for name in names if name in inputs]
    form = next((form for form in forms if form["inputs"] == given), None)
    require(form is not None, "no variant of these inputs")
    values: list[Any] = [inputs[name] for name in given]

    def argument(fields: Any) -> Any:
        if isinstance(fields, list):
            return [argument(item) for item in fields]
        if not isinstance(fields, dict):
            return fields
        ((tag, content),) = fields.items()
        if tag == "value":
            return values[content]
        if tag == "tensor":
            return packed.weights[content]
        return FLOATS[content] if tag == "float" else content

    def output(fields: Any) -> list[Any]:
        ((tag, content),) = fields.items() if isinstance(fields, dict) else (("", None),)
        if tag in ("tuple", "list"):
            return [leaf for item in content for leaf in output(item)]
        if tag in ("dict", "named_tuple"):
            entries = content if tag == "dict" else content[1]
            return [leaf for _, item in entries for leaf in output(item)]
        return [argument(fields)]

    for op, args, kwargs in form["nodes"]:
        require(op in OPERATORS, f"unknown operator {op!r}")
        values.append(
            OPERATORS[op](
                *(argument(arg) for arg in args), **{key: argument(arg) for key, arg in kwargs.items()}
            )
        )
    return output(form["output"])


# Numbers and dtypes


def promoted(*values: Any) -> list[Any]:
    """Bring tensors and numbers to the dtype of the result, as the page says."""
    arrays = [value for value in values if isinstance(value, np.ndarray)]
    wide = [value for value in arrays if value.ndim] or arrays
    dtype = np.result_type(*(value.dtype for value in wide))
    floats = any(isinstance(v, float) or (isinstance(v, np.ndarray) and v.dtype.kind == "f") for v in values)
    if floats and dtype.kind != "f":
        kinds = [value.dtype for value in arrays if value.dtype.kind == "f"]
        dtype = np.result_type(*kinds) if kinds else np.dtype("float32")
    elif dtype.kind == "b" and any(type(value) is int for value in values):
        dtype = np.dtype("int64")
    return [np.asarray(value).astype(dtype) for value in values]


def to_float(x: Array) -> Array:
    return x if x.dtype.kind == "f" else x.astype(np.float32)


def arithmetic(name: str, function: Callable[[Any, Any], Any]) -> None:
    @operator(f"{name}.Tensor", f"{name}.Scalar")
    def _(self: Any, other: Any, alpha: Any = 1) -> Array:
        a, b = promoted(self, other)
        return np.asarray(function(a, b * a.dtype.type(alpha) if alpha != 1 else b))


arithmetic("add", np.add)
arithmetic("sub", np.subtract)
arithmetic("mul", np.multiply)
arithmetic("div", lambda a, b: to_float(a) / to_float(b))
arithmetic("remainder", np.mod)


@operator("rsub.Scalar", "rsub.Tensor")
def rsub(self: Array, other: Any, alpha: Any = 1) -> Array:
    return OPERATORS["aten.sub.Tensor"](other, self, alpha)


def comparison(name: str, function: Callable[[Any, Any], Any]) -> None:
    @operator(f"{name}.Tensor", f"{name}.Scalar")
    def _(self: Any, other: Any) -> Array:
        return np.asarray(function(*promoted(self, other)))


comparison("eq", np.equal)
comparison("ne", np.not_equal)
comparison("lt", np.less)
comparison("le", np.less_equal)
comparison("gt", np.greater)
comparison("ge", np.greater_equal)


def elementwise(name: str, function: Callable[[Array], Any], floats: bool = True) -> None:
    @operator(name)
    def _(self: Array) -> Array:
        x = to_float(self) if floats else self
        return np.asarray(function(x)).astype(x.dtype, copy=False)


ERF = np.vectorize(math.erf, otypes=[np.float64])
elementwise("neg", np.negative, floats=False)
elementwise("abs", np.abs, floats=False)
elementwise("sign", lambda x: (x > 0).astype(x.dtype) - (x < 0).astype(x.dtype), floats=False)
elementwise("floor", np.floor, floats=False)
elementwise("ceil", np.ceil, floats=False)
elementwise("round", np.rint, floats=False)
elementwise("exp", np.exp)
elementwise("log", np.log)
elementwise("sqrt", np.sqrt)
elementwise("rsqrt", lambda x: 1 / np.sqrt(x))
elementwise("reciprocal", lambda x: 1 / x)
elementwise("sin", np.sin)
elementwise("cos", np.cos)
elementwise("tanh", np.tanh)
elementwise("erf", ERF)
elementwise("sigmoid", lambda x: 1 / (1 + np.exp(-x.astype(np.float64))))
elementwise("silu", lambda x: x / (1 + np.exp(-x.astype(np.float64))))
elementwise("hardsigmoid", lambda x: np.clip(x / 6 + 0.5, 0, 1))
elementwise("hardswish", lambda x: x * np.clip(x + 3, 0, 6) / 6)
elementwise("relu6", lambda x: np.clip(x, 0, 6))
elementwise("relu", lambda x: np.where(x < 0, 0, x), floats=False)


@operator("logical_not")
def logical_not(self: Array) -> Array:
    return np.logical_not(self)


@operator("pow.Tensor_Scalar")
def power(self: Array, exponent: Any) -> Array:
    x, y = promoted(self, exponent)
    return np.power(x, y)


@operator("maximum", "max.other")
def maximum(self: Array, other: Array) -> Array:
    return np.maximum(*promoted(self, other))


@operator("minimum", "min.other")
def minimum(self: Array, other: Array) -> Array:
    return np.minimum(*promoted(self, other))


@operator("clamp")
def clamp(self: Array, min: Any = None, max: Any = None) -> Array:
    x, *ends = promoted(self, *(end for end in (min, max) if end is not None))
    if min is not None:
        x = np.maximum(x, ends[0])
    return x if max is None else np.minimum(x, ends[-1])


@operator("hardtanh")
def hardtanh(self: Array, min_val: float = -1, max_val: float = 1) -> Array:
    return clamp(self, min_val, max_val)


@operator("leaky_relu")
def leaky_relu(self: Array, negative_slope: float = 0.01) -> Array:
    return np.where(self > 0, self, self * self.dtype.type(negative_slope))


@operator("prelu")
def prelu(self: Array, weight: Array) -> Array:
    slope = weight.reshape(-1, *[1] * max(0, self.ndim - 2))
    return np.where(self > 0, self, self * slope)


@operator("elu")
def elu(self: Array, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Array:
    x = self.astype(np.float64)
    return (scale * np.where(x > 0, x, alpha * np.expm1(x * input_scale))).astype(self.dtype)


@operator("softplus")
def softplus(self: Array, beta: float = 1, threshold: float = 20) -> Array:
    x = self.astype(np.float64) * beta
    return np.where(x > threshold, self, np.log1p(np.exp(np.minimum(x, threshold))) / beta).astype(self.dtype)


@operator("gelu")
def gelu(self: Array, approximate: str = "none") -> Array:
    x = self.astype(np.float64)
    if approximate == "tanh":
        y = x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    else:
        y = x / 2 * (1 + ERF(x / math.sqrt(2)))
    return y.astype(self.dtype)


@operator("softmax.int")
def softmax(self: Array, dim: int, dtype: str | None = None) -> Array:
    x = self.astype(dtype or self.dtype)
    y = np.exp(x - x.max(dim, keepdims=True))
    return y / y.sum(dim, keepdims=True)


@operator("log_softmax.int")
def log_softmax(self: Array, dim: int, dtype: str | None = None) -> Array:
    x = self.astype(dtype or self.dtype)
    x = x - x.max(dim, keepdims=True)
    return x - np.log(np.exp(x).sum(dim, keepdims=True))


@operator("where.self")
def where(condition: Array, self: Array, other: Array) -> Array:
    return np.where(condition, *promoted(self, other))


@operator("masked_fill.Scalar")
def masked_fill(self: Array, mask: Array, value: Any) -> Array:
    return np.where(mask, self.dtype.type(value), self)


@operator("to.dtype")
def to_dtype(self: Array, dtype: str, non_blocking: bool = False, copy: bool = False, **_: Any) -> Array:
    require(dtype != "bfloat16", "numpy has no bfloat16")
    return self.astype(dtype)


# Products


@operator("matmul", "mm", "bmm")
def matmul(self: Array, other: Array) -> Array:
    return np.matmul(self, other)


@operator("linear")
def linear(input: Array, weight: Array, bias: Array | None = None) -> Array:
    y = np.matmul(input, weight.T)
    return y if bias is None else y + bias


@operator("addmm")
def addmm(self: Array, mat1: Array, mat2: Array, beta: Any = 1, alpha: Any = 1) -> Array:
    y = alpha * np.matmul(mat1, mat2) + (beta * self if beta else 0)
    return y.astype(mat1.dtype)


def each(moves: Any, rank: int) -> list[int]:
    moves = [moves] if isinstance(moves, int) else list(moves)
    return moves * rank if len(moves) == 1 else moves


@operator("conv1d", "conv2d", "conv3d", "conv1d.padding", "conv2d.padding", "conv3d.padding")
def convolution(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Array:
    rank = weight.ndim - 2
    if input.ndim == rank + 1:
        return convolution(input[None], weight, bias, stride, padding, dilation, groups)[0]
    stride, dilation, kernel = each(stride, rank), each(dilation, rank), weight.shape[2:]
    if padding == "same":
        total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        pads = [(t // 2, t - t // 2) for t in total]
    else:
        pads = [(p, p) for p in each(0 if padding == "valid" else padding, rank)]
    x = np.pad(input, [(0, 0), (0, 0), *pads])
    sizes = [
        (n - d * (k - 1) - 1) // s + 1
        for n, d, k, s in zip(x.shape[2:], dilation, kernel, stride, strict=True)
    ]
    out, inputs = weight.shape[:2]
    y = np.zeros((len(x), out, *sizes), input.dtype)
    for group in range(groups):
        rows = slice(group * out // groups, (group + 1) * out // groups)
        part = x[:, group * inputs : (group + 1) * inputs]
        for place in itertools.product(*map(range, kernel)):
            window = tuple(
                slice(p * d, p * d + s * (n - 1) + 1, s)
                for p, d, s, n in zip(place, dilation, stride, sizes, strict=True)
            )
            y[:, rows] += np.einsum(
                "ni...,oi->no...", part[(..., *window)], weight[(rows, slice(None), *place)]
            )
    return y if bias is None else y + bias.reshape(-1, *[1] * rank)


@operator("conv_transpose1d", "conv_transpose2d.input", "conv_transpose3d.input")
def transposed_convolution(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Array:
    rank = weight.ndim - 2
    moves = (each(move, rank) for move in (stride, padding, output_padding, dilation))
    stride, padding, more, dilation = moves
    inputs, outputs, *kernel = weight.shape
    sizes = input.shape[2:]
    spans = [
        (n - 1) * s + d * (k - 1) + 1 + m
        for n, s, d, k, m in zip(sizes, stride, dilation, kernel, more, strict=True)
    ]
    y = np.zeros((len(input), outputs * groups, *spans), input.dtype)
    for group in range(groups):
        taken = slice(group * inputs // groups, (group + 1) * inputs // groups)
        rows = slice(group * outputs, (group + 1) * outputs)
        for place in itertools.product(*map(range, kernel)):
            window = tuple(
                slice(p * d, p * d + s * (n - 1) + 1, s)
                for p, d, s, n in zip(place, dilation, stride, sizes, strict=True)
            )
            y[(slice(None), rows, *window)] += np.einsum(
                "ni...,io->no...", input[:, taken], weight[(taken, slice(None), *place)]
            )
    y = y[(..., *(slice(p, n - p) for p, n in zip(padding, spans, strict=True)))]
    return y if bias is None else y + bias.reshape(-1, *[1] * rank)


@operator("scaled_dot_product_attention")
def attention(
    query: Array,
    key: Array,
    value: Array,
    attn_mask: Array | None = None,
    dropout_p: float = 0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Array:
    require(not dropout_p, "a graph is for inference")
    if enable_gqa:
        key, value = (np.repeat(x, query.shape[-3] // x.shape[-3], -3) for x in (key, value))
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = np.matmul(query, key.swapaxes(-1, -2)) * query.dtype.type(scale)
    if is_causal:
        attn_mask = np.tril(np.ones(scores.shape[-2:], bool))
    if attn_mask is not None:
        bools = attn_mask.dtype == bool
        scores = np.where(attn_mask, scores, -np.inf) if bools else scores + attn_mask
    return np.matmul(softmax(scores.astype(query.dtype), -1), value)


@operator("embedding")
def embedding(weight: Array, indices: Array, *_: Any) -> Array:
    require(indices.size == 0 or 0 <= indices.min() <= indices.max() < len(weight), "no such row")
    return weight[indices]


@operator("lstm.input")
def lstm(
    input: Array,
    hx: Sequence[Array],
    params: Sequence[Array],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Array, Array, Array]:
    require(not train, "a graph is for inference")
    x = input.swapaxes(0, 1) if batch_first else input
    each_layer, ends = (4 if has_biases else 2), []
    weights = [params[i : i + each_layer] for i in range(0, len(params), each_layer)]
    for layer in range(num_layers):
        directions = []
        for direction in range(1 + bidirectional):
            number = layer * (1 + bidirectional) + direction
            w_ih, w_hh, *biases = weights[number]
            h, c, steps = hx[0][number], hx[1][number], []
            for row in x[::-1] if direction else x:
                i, f, g, o = np.split(row @ w_ih.T + h @ w_hh.T + sum(biases), 4, axis=1)
                i, f, o = (OPERATORS["aten.sigmoid.default"](gate) for gate in (i, f, o))
                c = f * c + i * np.tanh(g)
                h = o * np.tanh(c)
                steps.append(h)
            directions.append(np.stack(steps[::-1] if direction else steps))
            ends.append((h, c))
        x = np.concatenate(directions, 2)
    h_n, c_n = (np.stack([end[place] for end in ends]) for place in (0, 1))
    return x.swapaxes(0, 1) if batch_first else x, h_n, c_n


# Norms


@operator("batch_norm")
def batch_norm(
    input: Array,
    weight: Array | None,
    bias: Array | None,
    running_mean: Array | None,
    running_var: Array | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Array:
    others = tuple(axis for axis in range(input.ndim) if axis != 1)
    mean = input.mean(others) if running_mean is None else running_mean
    var = input.var(others) if running_var is None else running_var
    require(not training or running_mean is None, "a graph is for inference")
    return normed(input, mean, var, eps, weight, bias, (1, -1, *[1] * (input.ndim - 2)))


def normed(
    x: Array, mean: Array, var: Array, eps: float, weight: Array | None, bias: Array | None, shape: Any
) -> Array:
    y = (x - mean.reshape(shape)) / np.sqrt(var.reshape(shape) + x.dtype.type(eps))
    y = y if weight is None else y * weight.reshape(shape)
    return y if bias is None else y + bias.reshape(shape)


@operator("layer_norm")
def layer_norm(
    input: Array,
    normalized_shape: Sequence[int],
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Array:
    last = tuple(range(-len(normalized_shape), 0))
    x = input - input.mean(last, keepdims=True)
    y = x / np.sqrt((x * x).mean(last, keepdims=True) + x.dtype.type(eps))
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


@operator("rms_norm")
def rms_norm(
    input: Array,
    normalized_shape: Sequence[int],
    weight: Array | None = None,
    eps: float | None = None,
) -> Array:
    last = tuple(range(-len(normalized_shape), 0))
    eps = float(np.finfo(input.dtype).eps) if eps is None else eps
    y = input / np.sqrt((input * input).mean(last, keepdims=True) + input.dtype.type(eps))
    return y if weight is None else y * weight


@operator("group_norm")
def group_norm(
    input: Array,
    num_groups: int,
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Array:
    x = input.reshape(len(input), num_groups, -1)
    x = x - x.mean(2, keepdims=True)
    y = (x / np.sqrt((x * x).mean(2, keepdims=True) + x.dtype.type(eps))).reshape(input.shape)
    shape = (1, -1, *[1] * (input.ndim - 2))
    y = y if weight is None else y * weight.reshape(shape)
    return y if bias is None else y + bias.reshape(shape)


# Reductions and pooling


def reduction(name: str, function: Callable[..., Any]) -> None:
    names = {"mean": ("mean", "mean.dim"), "sum": ("sum", "sum.dim_IntList")}.get(name, (name,))

    @operator(*names)
    def _(self: Array, dim: Any = None, keepdim: bool = False, dtype: str | None = None) -> Array:
        x = self.astype(dtype) if dtype else self
        if name == "sum" and x.dtype.kind != "f" and dtype is None:
            x = x.astype(np.int64)
        axes = range(x.ndim) if dim is None or dim == [] else [dim] if isinstance(dim, int) else dim
        return np.asarray(function(x, axis=tuple(axes), keepdims=keepdim)).astype(x.dtype)


reduction("mean", np.mean)
reduction("sum", np.sum)
reduction("amax", np.amax)
reduction("amin", np.amin)


@operator("argmax")
def argmax(self: Array, dim: int | None = None, keepdim: bool = False) -> Array:
    return np.asarray(np.argmax(self, dim, keepdims=keepdim)).astype(np.int64)


def windows(
    x: Array, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int], ceil: bool
) -> list[Array]:
    """Gather the numbers of each window along a last axis, and tell where they lie.

    The results are the numbers, whether each is of the input, and whether it is of the input or its padding.
    """
    rank, sizes, after = len(kernel), [], []
    for n, k, s, p, d in zip(x.shape[-rank:], kernel, stride, padding, dilation, strict=True):
        room = n + 2 * p - d * (k - 1) - 1
        count = (-(-room // s) if ceil else room // s) + 1
        if ceil and (count - 1) * s >= n + p:
            count -= 1
        sizes.append(count)
        after.append(max(p, (count - 1) * s + d * (k - 1) + 1 - n - p))
    first = [(0, 0)] * (x.ndim - rank)
    pads = first + list(zip(padding, after, strict=True))
    around = first + [(p, p) for p in padding]
    behind = first + [(0, a - p) for a, p in zip(after, padding, strict=True)]
    inside = np.pad(np.ones(x.shape, bool), pads)
    padded = np.pad(np.pad(np.ones(x.shape, bool), around, constant_values=True), behind)
    x = np.pad(x, pads)
    places = [
        tuple(
            slice(p * d, p * d + s * (n - 1) + 1, s)
            for p, d, s, n in zip(place, dilation, stride, sizes, strict=True)
        )
        for place in itertools.product(*map(range, kernel))
    ]
    return [np.stack([y[(..., *place)] for place in places], -1) for y in (x, inside, padded)]


@operator("max_pool1d", "max_pool2d", "max_pool3d")
def max_pool(
    self: Array,
    kernel_size: Any,
    stride: Any = (),
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Array:
    rank = rank_of(self, kernel_size)
    kernel = each(kernel_size, rank)
    moves = each(stride, rank) or kernel, each(padding, rank), each(dilation, rank)
    found, inside, _ = windows(self, kernel, *moves, ceil_mode)
    return np.where(inside, found, -np.inf).max(-1).astype(self.dtype)


def rank_of(x: Array, kernel: Any) -> int:
    return len(kernel) if not isinstance(kernel, int) and len(kernel) > 1 else x.ndim - 2


@operator("avg_pool1d", "avg_pool2d", "avg_pool3d")
def avg_pool(
    self: Array,
    kernel_size: Any,
    stride: Any = (),
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    rank = rank_of(self, kernel_size)
    kernel, padding = each(kernel_size, rank), each(padding, rank)
    stride = each(stride, rank) or kernel
    found, inside, padded = windows(self, kernel, stride, padding, [1] * rank, ceil_mode)
    count = (padded if count_include_pad else inside).sum(-1)
    return (found.sum(-1) / (divisor_override or count)).astype(self.dtype)


@operator("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d")
def adaptive_avg_pool(self: Array, output_size: Any) -> Array:
    sizes = each(output_size, 1)
    sizes = [size or n for size, n in zip(sizes, self.shape[-len(sizes) :], strict=True)]
    spans = [
        [(i * n // size, -(-(i + 1) * n // size)) for i in range(size)]
        for size, n in zip(sizes, self.shape[-len(sizes) :], strict=True)
    ]
    last = tuple(range(-len(sizes), 0))
    means = [
        self[(..., *(slice(*span) for span in chosen))].mean(last) for chosen in itertools.product(*spans)
    ]
    return np.stack(means, -1).reshape(*self.shape[: -len(sizes)], *sizes).astype(self.dtype)


# Places


@operator("view", "reshape")
def reshape(self: Array, shape: Sequence[int]) -> Array:
    return self.reshape(shape)


@operator("flatten.using_ints")
def flatten(self: Array, start_dim: int = 0, end_dim: int = -1) -> Array:
    if self.ndim == 0:
        return self.reshape(1)
    start, end = start_dim % self.ndim, end_dim % self.ndim
    middle = math.prod(self.shape[start : end + 1])
    return self.reshape(*self.shape[:start], middle, *self.shape[end + 1 :])


@operator("unflatten.int")
def unflatten(self: Array, dim: int, sizes: Sequence[int]) -> Array:
    dim %= self.ndim
    known = -math.prod(sizes)
    sizes = [self.shape[dim] // known if size == -1 else size for size in sizes]
    return self.reshape(*self.shape[:dim], *sizes, *self.shape[dim + 1 :])


@operator("squeeze.dim")
def squeeze(self: Array, dim: int) -> Array:
    return self.squeeze(dim) if self.ndim and self.shape[dim] == 1 else self


@operator("unsqueeze")
def unsqueeze(self: Array, dim: int) -> Array:
    return np.expand_dims(self, dim)


@operator("transpose.int")
def transpose(self: Array, dim0: int, dim1: int) -> Array:
    return self.swapaxes(dim0, dim1)


@operator("t")
def t(self: Array) -> Array:
    return self.T


@operator("permute")
def permute(self: Array, dims: Sequence[int]) -> Array:
    return self.transpose(dims)


@operator("expand")
def expand(self: Array, size: Sequence[int], *, implicit: bool = False) -> Array:
    more = len(size) - self.ndim
    shape = [self.shape[i - more] if n == -1 else n for i, n in enumerate(size)]
    return np.broadcast_to(self, shape)


@operator("repeat")
def repeat(self: Array, repeats: Sequence[int]) -> Array:
    return np.tile(self, repeats)


@operator("cat")
def cat(tensors: Sequence[Array], dim: int = 0) -> Array:
    return np.concatenate(tensors, dim)


@operator("stack")
def stack(tensors: Sequence[Array], dim: int = 0) -> Array:
    return np.stack(tensors, dim)


@operator("split.Tensor")
def split(self: Array, split_size: int, dim: int = 0) -> list[Array]:
    return np.split(self, range(split_size, self.shape[dim], split_size), dim)


@operator("chunk")
def chunk(self: Array, chunks: int, dim: int = 0) -> list[Array]:
    return split(self, max(1, -(-self.shape[dim] // chunks)), dim)


@operator("unbind.int")
def unbind(self: Array, dim: int = 0) -> list[Array]:
    return [self.take(i, dim) for i in range(self.shape[dim])]


@operator("select.int")
def select(self: Array, dim: int, index: int) -> Array:
    return self.take(index, dim)


@operator("slice.Tensor")
def slice_(
    self: Array, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Array:
    places: list[Any] = [slice(None)] * self.ndim
    places[dim] = slice(start, end, step)
    return self[tuple(places)]


@operator("pad")
def pad(self: Array, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Array:
    require(mode == "constant", "the table has padding with a constant alone")
    places: list[Any] = [slice(None)] * self.ndim
    widths = [(0, 0)] * self.ndim
    for number, (before, after) in enumerate(zip(pad[::2], pad[1::2], strict=True)):
        axis = self.ndim - 1 - number
        widths[axis] = max(0, before), max(0, after)
        places[axis] = slice(max(0, -before), self.shape[axis] - max(0, -after))
    return np.pad(self[tuple(places)], widths, constant_values=value or 0)


@operator("contiguous", "clone", "dropout", "alias", "detach")
def same(self: Array, p: float = 0, train: bool = False, *, memory_format: str | None = None) -> Array:
    require(not train, "a graph is for inference")
    return self


# What makes tensors and sizes


def made(size: Sequence[int], value: Any, dtype: str | None) -> Array:
    return np.full(size, value, dtype or "float32")


@operator("zeros")
def zeros(size: Sequence[int], *, dtype: str | None = None, **_: Any) -> Array:
    return made(size, 0, dtype)


@operator("ones")
def ones(size: Sequence[int], *, dtype: str | None = None, **_: Any) -> Array:
    return made(size, 1, dtype)


@operator("full")
def full(size: Sequence[int], fill_value: Any, *, dtype: str | None = None, **_: Any) -> Array:
    kinds = {bool: "bool", int: "int64", float: "float32"}
    return made(size, fill_value, dtype or kinds[type(fill_value)])


@operator("zeros_like")
def zeros_like(self: Array, *, dtype: str | None = None, **_: Any) -> Array:
    return np.zeros(self.shape, dtype or self.dtype)


@operator("ones_like")
def ones_like(self: Array, *, dtype: str | None = None, **_: Any) -> Array:
    return np.ones(self.shape, dtype or self.dtype)


@operator("arange", "arange.start", "arange.start_step")
def arange(*ends: Any, dtype: str | None = None, **_: Any) -> Array:
    return np.arange(*ends).astype(dtype or ("float32" if float in map(type, ends) else "int64"))


@operator("sym_size.int")
def sym_size(self: Array, dim: int) -> int:
    return self.shape[dim]


@operator("getitem")
def getitem(values: Any, place: int) -> Any:
    require(isinstance(values, (tuple, list)) and 0 <= place < len(values), "no such result")
    return values[place]


def integer(name: str, function: Callable[..., int]) -> None:
    @operator(f"integer.{name}")
    def _(*numbers: int) -> int:
        require(all(type(number) is int for number in numbers), "no whole number")
        try:
            result = function(*numbers)
        except ZeroDivisionError:
            raise RefusedError("division by zero") from None
        require(-(2**63) <= result < 2**63, "a number beyond 64 bits")
        return result


integer("add", lambda a, b: a + b)
integer("sub", lambda a, b: a - b)
integer("mul", lambda a, b: a * b)
integer("floordiv", lambda a, b: a // b)
integer("mod", lambda a, b: a % b)
integer("neg", lambda a: -a)
