"""Rules that rewrite a network's graph for the kernels; each knows one pattern.

A float on which a decision depends must have the very bits that torch gives it, or the decision may differ
from that of the hardened network: rules that round otherwise, as all do that fold a BatchNorm, leave such
floats alone. What is folded before a decision are integers, by thresholds that torch's operators have set.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from proxconnect.engine._product import Product, scale_of
from proxconnect.engine._use import ADDMM, use_of_node
from proxconnect.engine.fusion._rewriting import PACK, PRODUCT, SIGN, SUMS, Rewriting
from proxconnect.engine.fusion._thresholds import thresholds
from proxconnect.engine.kernels import Affine
from proxconnect.graph import Node, TensorName, Value

Rule = Callable[[Rewriting, int, Node], None]


def _signs(rewriting: Rewriting, index: int, node: Node) -> None:
    """``sign(sign(x) + 0.5)``: the sign of x, of zero +1."""
    draft = rewriting.draft
    match node, draft.behind(node, "aten.add.Tensor"):
        case Node("aten.sign.default"), Node(_, (Value() as inner, 0.5)):
            match draft.node(inner):
                case Node("aten.sign.default", (Value() as x,)):
                    draft.put(index, Node(SIGN, (x,)))


def _binary_products(rewriting: Rewriting, index: int, node: Node) -> None:
    """``round(product(sign(x), sign(weight)))``: exact sums of packed signs, as floats."""
    draft = rewriting.draft
    if node.op != "aten.round.default" or not draft.read_once(node.args[0]):
        return
    layer = draft.node(node.args[0])
    if layer is None or any(argument is not None for argument in layer.args[2:3]):
        return
    match draft.node(layer.args[0]), draft.node(layer.args[1]):
        case Node(op, (x,)), Node("aten.sign.default", (TensorName(name),)) if op == SIGN:
            use = use_of_node(layer, rewriting.shape_of(name), binary_input=True)
            product = rewriting.laid_out(name, use)
            if product is not None:
                sums = replace(product, epilogue=Affine(torch.ones(product.weight.n)))
                draft.put(node.args[0].index, Node(PACK, (sums, x)))
                draft.put(index, Node(SUMS, (sums, node.args[0])))


def _shared_packs(rewriting: Rewriting, index: int, node: Node) -> None:
    """Layers that read the same signs read them packed once."""
    draft = rewriting.draft
    if node.op == PACK:
        product, x = node.args
        for other in range(index):
            match draft.nodes.get(other):
                case Node(op, (Product() as earlier, source)) if (
                    op == PACK and source == x and earlier.packs_as(product)
                ):
                    draft.redirect(index, other)
                    return


def _wraps(rewriting: Rewriting, index: int, node: Node) -> None:
    """``((sums + 128) mod 256) - 128``: an accumulator of 8 bits."""
    draft = rewriting.draft
    rest = draft.behind(node, "aten.remainder.Scalar")
    if node.op != "aten.add.Tensor" or node.args[1] != -128 or rest is None or rest.args[1] != 256:
        return
    shifted = draft.behind(rest, "aten.sub.Tensor")
    found = None if shifted is None or shifted.args[1] != -128 else rewriting.product(shifted.args[0], SUMS)
    if found is not None and draft.read_once(node.args[0]) and draft.read_once(rest.args[0]):
        product, x, _ = found
        draft.put(index, Node(SUMS, (replace(product, wrap=True), x)))


def _scales(rewriting: Rewriting, index: int, node: Node) -> None:
    """``sums * reshape(amax(abs(weight)))``: the weight's scale, which rounds as torch does."""
    draft = rewriting.draft
    found = rewriting.product(node.args[0], SUMS) if node.op == "aten.mul.Tensor" else None
    greatest = draft.behind(draft.node(node.args[1]), "aten.amax.default") if found else None
    size = draft.behind(greatest, "aten.abs.default")
    match found, size:
        case (product, x, _), Node(_, (TensorName(name),)) if name in rewriting.weights:
            affine = Affine(scale_of(rewriting.weights[name]))
            if affine.n == product.weight.n:
                draft.put(index, Node(PRODUCT, (replace(product, epilogue=affine), x, None)))


def _biases(rewriting: Rewriting, index: int, node: Node) -> None:
    """A bias behind a binary product, which rounds as torch does."""
    found = rewriting.product(node.args[0]) if node.op == "aten.add.Tensor" and not node.kwargs else None
    bias = rewriting.draft.node(node.args[1]) if found else None
    if found is None or bias is None or not isinstance(bias.args[0], TensorName):
        return
    product, x, residual = found
    fits = bias.op == "aten.reshape.default" and product.kernel == "w1a1" and residual is None
    if fits and not product.affine.bias.any() and product.affine.slope is None:
        values = rewriting.tensor(bias.args[0].name)
        affine = Affine(product.affine.scale, values)
        rewriting.draft.put(index, Node(PRODUCT, (replace(product, epilogue=affine), x, None)))


def _float_products(rewriting: Rewriting, index: int, node: Node) -> None:
    """A layer with a binary weight and float input."""
    args = (node.args[1], node.args[2], node.args[0]) if node.op == ADDMM else node.args
    match args:
        case (Value() as x, TensorName(name), *rest) if index not in rewriting.dependence.exact:
            shape = rewriting.shape_of(name)
            use = use_of_node(node, shape, binary_input=False)
            named = rest[0] if rest else None
            bias = rewriting.constant(named)
            if use is not None and (named is None or _is_bias(bias, shape[1 if use.transposed else 0])):
                product = rewriting.laid_out(name, use, bias)
                if product is not None:
                    rewriting.draft.put(index, Node(PRODUCT, (product, x, None)))


def _is_bias(bias: Tensor | None, outputs: int) -> bool:
    return bias is not None and bias.shape == (outputs,)


def _norms(rewriting: Rewriting, index: int, node: Node) -> None:
    """A BatchNorm behind a product, as another scale and bias."""
    if node.op != "aten.batch_norm.default":
        return
    found = rewriting.inexact_product(index, node.args[0])
    if found is None or found[2] is not None or found[0].affine.slope is not None:
        return
    product, x, _ = found
    if rewriting.is_per_channel(node.args[0], product):
        weight, bias, mean, variance = (rewriting.constant(name) for name in node.args[1:5])
        if mean is None or variance is None or not isinstance(node.args[7], float):
            return
        gain = (variance.double() + node.args[7]).rsqrt()
        gain = gain if weight is None else gain * weight
        shift = (product.affine.bias - mean) * gain
        shift = shift if bias is None else shift + bias
        affine = Affine(product.affine.scale * gain, shift)
        rewriting.draft.put(index, Node(PRODUCT, (replace(product, epilogue=affine), x, None)))


def _residuals(rewriting: Rewriting, index: int, node: Node) -> None:
    """A shortcut around a product."""
    if node.op != "aten.add.Tensor" or node.kwargs:
        return
    for value, other in (node.args, node.args[::-1]):
        found = rewriting.inexact_product(index, value)
        if found is None or not isinstance(other, Value):
            continue
        product, x, residual = found
        shapes = rewriting.shapes.get(index), rewriting.shapes.get(other.index)
        if (
            residual is None
            and product.affine.slope is None
            and shapes[0] is not None
            and shapes[0] == shapes[1]
        ):
            rewriting.draft.put(index, Node(PRODUCT, (product, x, other)))
            return


def _slopes(rewriting: Rewriting, index: int, node: Node) -> None:
    """A ReLU or PReLU behind a product."""
    if node.op not in ("aten.relu.default", "aten.prelu.default"):
        return
    found = rewriting.inexact_product(index, node.args[0])
    if found is None or found[0].affine.slope is not None:
        return
    product, x, residual = found
    n = product.weight.n
    slope = torch.zeros(n) if node.op == "aten.relu.default" else rewriting.constant(node.args[1])
    if slope is None or slope.numel() not in (1, n):
        return
    if slope.numel() == 1 or rewriting.is_per_channel(node.args[0], product):
        affine = Affine(product.affine.scale, product.affine.bias, slope.expand(n))
        rewriting.draft.put(index, Node(PRODUCT, (replace(product, epilogue=affine), x, residual)))


def _thresholds(rewriting: Rewriting, index: int, node: Node) -> None:
    """The sign of what monotone operators make of a binary product: a decision on its sum."""
    draft = rewriting.draft
    if node.op != PACK:
        return
    following, value = node.args
    chain: list[Node] = []
    while (found := rewriting.product(value)) is None:
        step = draft.node(value)
        if step is None or not draft.read_once(value) or not step.args:
            return
        chain.insert(0, step)
        value = step.args[0]
    product, x, residual = found
    if product.kernel == "w1a1" and residual is None and following.packs_as(product):
        decisions = thresholds(product, chain, rewriting.tensor, rewriting.is_per_channel(value, product))
        if decisions is not None:
            draft.put(index, Node(PRODUCT, (replace(product, epilogue=decisions), x, None)))


def _formats(rewriting: Rewriting, index: int, node: Node) -> None:
    """Where torch's rounding depends on the memory format, the default one."""
    if node.op in (SUMS, PRODUCT) and index in rewriting.dependence.ordered:
        rewriting.draft.put(
            index, Node(node.op, (replace(node.args[0], channels_last=False), *node.args[1:]))
        )


# What a graph from torch.export holds, and what it is in the kernels' terms.
RECOGNITION: tuple[Rule, ...] = (_signs, _binary_products, _shared_packs, _wraps, _scales, _biases)
FOLDING: tuple[Rule, ...] = (_float_products, _norms, _residuals, _slopes, _thresholds, _formats)
