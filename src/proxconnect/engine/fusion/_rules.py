"""Rewrite a network's graph for the kernels by rules; each knows one pattern.

A float on which a decision depends must have the very bits that torch gives it, or the decision may differ
from that of the hardened network: rules that round otherwise, as all do that fold a BatchNorm, leave such
floats alone. What is folded before a decision are integers, by thresholds that torch's operators have set.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from proxconnect.engine._kernel_call import scale_of
from proxconnect.engine._kernel_choice import ROWS
from proxconnect.engine._layer_geometry import ADDMM, geometry_of_node
from proxconnect.engine.fusion._rewriting import LOOK_UP, PACK, PRODUCT, SIGN, SUMS, Rewriting
from proxconnect.engine.fusion._thresholds import thresholds
from proxconnect.graph import Node, TensorName, Value
from proxconnect.kernels import Affine

Rule = Callable[[Rewriting, int, Node], None]


def _signs(rewriting: Rewriting, index: int, node: Node) -> None:
    """Recognise ``sign(sign(x) + 0.5)``: the sign of x, of zero +1."""
    draft = rewriting.draft
    if node.op == "aten.sign.default":
        match draft.plain(node.args[0], "aten.add.Tensor"):
            case Node(_, (Value() as inner, 0.5)):
                match draft.plain(inner, "aten.sign.default"):
                    case Node(_, (Value() as x,)) if rewriting.shape(x) is not None:
                        draft.put(index, Node(SIGN, (x,)))


def _binary_products(rewriting: Rewriting, index: int, node: Node) -> None:
    """Recognise ``round(product(sign(x), sign(weight)))``: exact sums of packed signs, as floats."""
    draft = rewriting.draft
    if node.op != "aten.round.default" or not draft.read_once(node.args[0]):
        return
    match draft.plain(node.args[0]):
        case Node(_, (signs, signs_of_weight, *rest)) as layer if rest[:1] in ([], [None]):
            pass
        case _:
            return
    match draft.plain(signs, SIGN), draft.plain(signs_of_weight, "aten.sign.default"):
        case Node(_, (x,)), Node(_, (TensorName(name),)) if rewriting.has_no_zero(name):
            geometry = geometry_of_node(layer, rewriting.weight_shape(name), binary_input=True)
            product = rewriting.laid_out(name, geometry, signs)
            if product is not None:
                sums = replace(
                    product,
                    epilogue=Affine.of(torch.ones(product.weight.n, dtype=torch.float32, device="cpu")),
                )
                draft.put(node.args[0].index, Node(PACK, (sums, x)))
                draft.put(index, Node(SUMS, (sums, node.args[0])))


def _shared_packs(rewriting: Rewriting, index: int, node: Node) -> None:
    """Pack signs once for all layers that read them."""
    if node.op == PACK:
        product, x = node.args
        first = rewriting.packs.setdefault((x, product.packing), index)
        if first != index:
            rewriting.draft.redirect(index, Value(first))


def _wraps(rewriting: Rewriting, index: int, node: Node) -> None:
    """Recognise ``((sums + 128) mod 256) - 128``: an accumulator of 8 bits."""
    draft = rewriting.draft
    match node:
        case Node("aten.add.Tensor", (Value() as rest, -128)) if draft.read_once(rest):
            pass
        case _:
            return
    match draft.plain(rest, "aten.remainder.Scalar"):
        case Node(_, (Value() as shifted, 256)) if draft.read_once(shifted):
            match draft.plain(shifted, "aten.sub.Tensor"):
                case Node(_, (sums, -128)) if (found := rewriting.product(sums, SUMS)) is not None:
                    product, x, _ = found
                    draft.put(index, Node(SUMS, (replace(product, wrap=True), x)))


def _scales(rewriting: Rewriting, index: int, node: Node) -> None:
    """Recognise ``sums * reshape(amax(abs(weight)))``: the weight's scale, which rounds as torch does."""
    draft = rewriting.draft
    found = rewriting.product(node.args[0], SUMS) if node.op == "aten.mul.Tensor" else None
    if found is None or not rewriting.is_of_outputs(node.args[1], found[0]):
        return
    reshaped = draft.plain(node.args[1], "aten.reshape.default")
    greatest = draft.plain(reshaped.args[0], "aten.amax.default") if reshaped is not None else None
    match greatest and greatest.args:
        case (size, tuple(dimensions), *_):
            match draft.plain(size, "aten.abs.default"):
                case Node(_, (TensorName(name),)) if rewriting.scale_is_greatest(name, dimensions):
                    product, x, _ = found
                    affine = Affine.of(scale_of(rewriting.weights[name]))
                    draft.put(index, Node(PRODUCT, (replace(product, epilogue=affine), x, None)))


def _biases(rewriting: Rewriting, index: int, node: Node) -> None:
    """Fold a bias behind a binary product, which rounds as torch does."""
    found = rewriting.product(node.args[0]) if node.op == "aten.add.Tensor" else None
    if found is None or not rewriting.is_of_outputs(node.args[1], found[0]):
        return
    product, x, residual = found
    reshaped = rewriting.draft.plain(node.args[1], "aten.reshape.default")
    values = rewriting.constant(reshaped.args[0]) if reshaped is not None else None
    fits = values is not None and product.kernel == "w1a1" and residual is None
    if fits and values is not None and not product.affine.bias.any() and product.affine.slope is None:
        affine = Affine.of(product.affine.scale, values.reshape(-1))
        rewriting.draft.put(index, Node(PRODUCT, (replace(product, epilogue=affine), x, None)))


def _float_products(rewriting: Rewriting, index: int, node: Node) -> None:
    """Recognise a layer with a binary weight and float input."""
    args = (node.args[1], node.args[2], node.args[0]) if node.op == ADDMM else node.args
    match args:
        case (Value() as x, TensorName(name), *rest) if index not in rewriting.dependence.exact:
            geometry = geometry_of_node(node, rewriting.weight_shape(name), binary_input=False)
            named = rest[0] if rest else None
            bias = rewriting.constant(named)
            if named is None or bias is not None:
                product = rewriting.laid_out(name, geometry, x, bias)
                if product is not None:
                    rewriting.draft.put(index, Node(PRODUCT, (product, x, None)))


def _look_ups(rewriting: Rewriting, index: int, node: Node) -> None:
    """Recognise an embedding with a binary weight: the rows that are asked for are unpacked."""
    match node:
        case Node("aten.embedding.default", (TensorName(name), Value() as rows, *_)) if (
            name in rewriting.weights
        ):
            rewriting.kernels.setdefault(name, ROWS)  # the weight may be tied to a head, whose kernel counts
            rewriting.draft.put(index, Node(LOOK_UP, (rewriting.weights[name], rows)))


def _norms(rewriting: Rewriting, index: int, node: Node) -> None:
    """Fold a BatchNorm behind a product into its scale and bias."""
    if node.op != "aten.batch_norm.default":
        return
    found = rewriting.inexact_product(index, node.args[0])
    if found is None or found[2] is not None or found[0].affine.slope is not None:
        return
    product, x, _ = found
    if rewriting.is_per_channel(node.args[0], product):
        given = [rewriting.constant(name) for name in node.args[1:5]]
        weight, bias, mean, variance = given
        if mean is None or variance is None or not isinstance(node.args[7], float):
            return
        gain = (variance.double() + node.args[7]).rsqrt()
        gain = gain if weight is None else gain * weight
        shift = (product.affine.bias - mean) * gain
        shift = shift if bias is None else shift + bias
        floats = all(tensor is None or tensor.dtype == torch.float32 for tensor in given)
        affine = product.affine.scaled(gain, shift)
        if floats and affine.scale.isfinite().all() and affine.bias.isfinite().all():
            rewriting.draft.put(index, Node(PRODUCT, (replace(product, epilogue=affine), x, None)))


def _residuals(rewriting: Rewriting, index: int, node: Node) -> None:
    """Fold a shortcut around a product."""
    if node.op != "aten.add.Tensor":
        return
    for value, other in (node.args, node.args[::-1]):
        found = rewriting.inexact_product(index, value)
        if found is None or not isinstance(other, Value):
            continue
        product, x, residual = found
        shape = rewriting.shape(other)
        alone = residual is None and product.affine.slope is None
        if alone and shape is not None and shape == rewriting.shape(value):
            rewriting.draft.put(index, Node(PRODUCT, (product, x, other)))
            return


def _slopes(rewriting: Rewriting, index: int, node: Node) -> None:
    """Fold a ReLU or PReLU behind a product.

    Kernels take a slope of 0 for a ReLU. A PReLU of slope 0 is none: at minus infinity it gives NaN.
    """
    if node.op not in ("aten.relu.default", "aten.prelu.default"):
        return
    found = rewriting.inexact_product(index, node.args[0])
    if found is None or found[0].affine.slope is not None:
        return
    product, x, residual = found
    n = product.weight.n
    slope = (
        torch.zeros(n, dtype=torch.float32, device="cpu")
        if node.op == "aten.relu.default"
        else rewriting.constant(node.args[1])
    )
    if slope is None or slope.numel() not in (1, n) or slope.dtype != torch.float32:
        return
    of_channels = slope.numel() > 1 and not rewriting.is_per_channel(node.args[0], product)
    if of_channels or not slope.isfinite().all():
        return
    if node.op == "aten.relu.default" or slope.all():
        affine = product.affine
        slope = slope.detach().expand(n).clone(memory_format=torch.contiguous_format)
        affine = Affine.over(affine.scale, affine.bias, slope, affine.group)
        rewriting.draft.put(index, Node(PRODUCT, (replace(product, epilogue=affine), x, residual)))


def _thresholds(rewriting: Rewriting, index: int, node: Node) -> None:
    """Turn the sign of a monotone function of a binary product into a decision on its sum."""
    draft = rewriting.draft
    if node.op != PACK:
        return
    following, value = node.args
    chain: list[Node] = []
    while (found := rewriting.product(value)) is None:
        step = draft.plain(value)
        if step is None or not draft.read_once(value) or not step.args:
            return
        chain.append(step)
        value = step.args[0]
    product, x, residual = found
    if rewriting.shape(value) != rewriting.shape(node.args[1]):  # a constant of more dimensions came in
        return
    if product.kernel == "w1a1" and residual is None and following.packing == product.packing:
        per_channel = rewriting.is_per_channel(value, product)
        decisions = thresholds(product, chain[::-1], rewriting.tensor, per_channel)
        if decisions is not None:
            draft.put(index, Node(PRODUCT, (replace(product, epilogue=decisions), x, None)))


def _formats(rewriting: Rewriting, index: int, node: Node) -> None:
    """Keep the default memory format where torch's rounding depends on the format."""
    if node.op in (SUMS, PRODUCT) and index in rewriting.dependence.ordered:
        rewriting.draft.put(
            index, Node(node.op, (replace(node.args[0], channels_last=False), *node.args[1:]))
        )


# Recognition finds the layers in a graph from torch.export; folding moves other operators into them.
RECOGNITION: tuple[Rule, ...] = (_signs, _binary_products, _shared_packs, _wraps, _scales, _biases)
FOLDING: tuple[Rule, ...] = (
    _look_ups,
    _float_products,
    _norms,
    _residuals,
    _slopes,
    _thresholds,
    _formats,
)
