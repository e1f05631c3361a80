"""Rules for layers that stay floats: memory formats, the BatchNorm behind them, GELU, attention."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from proxconnect.engine._attention import multiplies_integers
from proxconnect.engine._float_activation import FloatActivation
from proxconnect.engine._float_convolution import FloatConvolution
from proxconnect.engine._layer_geometry import LayerGeometry, geometry_of_node
from proxconnect.engine._precision import multiplies_bfloat16
from proxconnect.engine.fusion._dependence import is_float_convolution
from proxconnect.engine.fusion._rewriting import (
    ACTIVATION,
    ATTENTION,
    CONVOLUTION,
    INTEGER_ATTENTION,
    Rewriting,
)
from proxconnect.engine.fusion._rules import Rule
from proxconnect.graph import Node
from proxconnect.graph.operators import resolve

# Layers by operator, with the dimensions of a result whose channels are in dimension 1.
_LAYERS = {"aten.linear.default": 2, CONVOLUTION: 4}
_LAYERS |= {f"aten.conv{d}d.{kind}": d + 2 for d in (1, 3) for kind in ("default", "padding")}


def _convolutions(rewriting: Rewriting, index: int, node: Node) -> None:
    """Let a convolution of a batch of images choose its memory format."""
    if not is_float_convolution(node, rewriting.shapes.get(index)):
        return
    x, name, *rest = node.args
    weight, bias = rewriting.constant(name), rewriting.constant(rest[0]) if rest else None
    if rest[:1] not in ([], [None]) and bias is None:
        return
    exact = index in rewriting.dependence.exact
    convolution = FloatConvolution(
        resolve(node.op),
        tuple(rest[1:]),
        weight,
        bias,
        exact=exact,
        first=rewriting.draft.node(x) is None,
        channels_last=index not in rewriting.dependence.ordered,
        bfloat16=weight is not None and not rewriting.exact and multiplies_bfloat16(),
        patches=weight is not None and not exact and _meets_each_pixel_once(node, weight),
    )
    given = (x,) if weight is not None else (x, name)
    rewriting.draft.put(index, Node(CONVOLUTION, (convolution, *given)))


def _meets_each_pixel_once(node: Node, weight: Tensor) -> bool:
    """Tell whether the node is a convolution of one group that moves by its whole kernel, without padding."""
    kernel = weight.shape[2], weight.shape[3]
    geometry = geometry_of_node(node, weight.shape, binary_input=False)
    return max(kernel) > 1 and geometry == LayerGeometry("conv2d", stride=kernel)


def _norms(rewriting: Rewriting, index: int, node: Node) -> None:
    """Fold a BatchNorm behind a layer of floats into the layer's weight and bias."""
    draft = rewriting.draft
    layer = draft.plain(node.args[0]) if node.op == "aten.batch_norm.default" else None
    if layer is None or index in rewriting.dependence.exact or not draft.read_once(node.args[0]):
        return
    affine = _affine(rewriting, node)
    if affine is None or len(rewriting.shape(node.args[0]) or ()) != _LAYERS.get(layer.op):
        return
    if layer.op == CONVOLUTION:
        convolution, x = layer.args[:2]
        if convolution.weight is not None:
            weight, bias = _folded(convolution.weight, convolution.bias, *affine)
            draft.put(index, Node(CONVOLUTION, (replace(convolution, weight=weight, bias=bias), x)))
        return
    x, *given = layer.args
    tensors = [rewriting.constant(name) for name in (*given, None)[:2]]
    if tensors[0] is not None and (tensors[1] is None) == ((*given, None)[1] is None):
        draft.put(index, Node(layer.op, (x, *_folded(tensors[0], tensors[1], *affine), *given[2:])))


def _affine(rewriting: Rewriting, norm: Node) -> tuple[Tensor, Tensor] | None:
    """Return the factor and the summand of a BatchNorm in float64; None where it is not one of floats."""
    given = [rewriting.constant(name) for name in norm.args[1:5]]
    weight, bias, mean, variance = given
    floats = all(tensor is None or tensor.dtype == torch.float32 for tensor in given)
    if mean is None or variance is None or not floats or not isinstance(norm.args[7], float):
        return None
    gain = (variance.double() + norm.args[7]).rsqrt()
    gain = gain if weight is None else gain * weight
    shift = -mean * gain if bias is None else bias - mean * gain
    return (gain, shift) if gain.isfinite().all() and shift.isfinite().all() else None


def _folded(weight: Tensor, bias: Tensor | None, gain: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """Return weight and bias of a layer that does what the layer and an affine map behind it do."""
    scaled = weight.double() * gain.view(-1, *(1,) * (weight.ndim - 1))
    moved = shift if bias is None else bias * gain + shift
    return scaled.float(), moved.float()


def _activations(rewriting: Rewriting, index: int, node: Node) -> None:
    """Compute a GELU by a kernel, which rounds otherwise than torch, where no decision depends on it."""
    if node.op != "aten.gelu.default" or index in rewriting.dependence.exact:
        return
    name = {"none": "gelu", "tanh": "gelu_tanh"}.get(node.kwargs.get("approximate", "none"))
    if name is not None and len(node.args) == 1 and rewriting.shape(node.args[0]) is not None:
        function = partial(resolve(node.op), **node.kwargs)
        rewriting.draft.put(index, Node(ACTIVATION, (FloatActivation(name, function), node.args[0])))


def _attentions(rewriting: Rewriting, index: int, node: Node) -> None:
    """Compute attention of float32 tensors in bfloat16, or in integers where processors have no bfloat16."""
    if node.op != "aten.scaled_dot_product_attention.default" or index not in rewriting.shapes:
        return
    floats = all(rewriting.shape(value) is not None for value in node.args[:3])
    if not floats or rewriting.exact:
        return
    if multiplies_bfloat16():
        rewriting.draft.put(index, Node(ATTENTION, node.args, node.kwargs))
    elif len(node.args) == 3 and node.kwargs.keys() <= {"scale"} and multiplies_integers():
        rewriting.draft.put(index, Node(INTEGER_ATTENTION, node.args, node.kwargs))


FLOAT_LAYERS: tuple[Rule, ...] = (_convolutions, _norms)
# Rules for nodes that may have arguments by name.
NAMED: tuple[Rule, ...] = (_activations, _attentions)
