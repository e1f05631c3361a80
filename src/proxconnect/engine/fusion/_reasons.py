"""Say why an operator of torch stays in a rewritten graph."""

from __future__ import annotations

import torch

from proxconnect.engine._operand_layout import ConvOperand, LinearOperand
from proxconnect.engine.fusion._chain_steps import STEPS, Layout, Link, steps_of
from proxconnect.engine.fusion._rewriting import Rewriting
from proxconnect.graph import Node, Value
from proxconnect.graph.operators import resolve

# Operators that compute nothing in a network for inference, though their schemas do not say so.
_VIEWS = {"reshape", "flatten", "contiguous", "dropout", "expand_as", "view_as", "type_as"}


def why_unfused(rewriting: Rewriting, index: int) -> str | None:
    """Return the reason why torch still computes the node of this number, a short phrase.

    None stands for nodes that compute no floats, that only arrange them, or that kernels compute.
    """
    node, shape = rewriting.draft.nodes[index], rewriting.shape(Value(index))
    if not node.op.startswith("aten.") or shape is None or _arranges(node):
        return None
    if node.op.removeprefix("aten.") not in STEPS:
        return "its weights are floats" if _has_weights(rewriting, node) else "no kernel computes it"
    if any(node is other for other in rewriting.unfaithful):
        return "a kernel would round otherwise than torch"
    if len(shape) not in (2, 4):
        return f"kernels take rows and images, not {len(shape)} dimensions"
    if shape[1][0] != shape[1][1]:
        return "its number of channels varies"
    kind = ConvOperand if len(shape) == 4 else LinearOperand
    layout = Layout(kind, shape[1][0], len(shape), 1)
    links = [Link(node, place) for place, x in enumerate(node.args[:2]) if rewriting.shape(x) == shape]
    if not links:
        return "its input is of another shape"
    if all(steps_of(link, layout, rewriting.constant, contracted=True) is None for link in links):
        return "its constants are not a number for each channel"
    if not any(rewriting.draft.read_once(node.args[link.place]) for link in links):
        return "other operators read its input too"
    return "no operator beside it joins it"


def _has_weights(rewriting: Rewriting, node: Node) -> bool:
    """Tell whether an operator multiplies with a matrix or filters of the network."""
    weights = (rewriting.constant(argument) for argument in node.args[1:])
    return any(weight is not None and weight.ndim > 1 for weight in weights)


def _arranges(node: Node) -> bool:
    """Tell whether an operator only arranges its input."""
    function = resolve(node.op)
    views = isinstance(function, torch._ops.OpOverload) and function.is_view
    return views or node.op.split(".")[1] in _VIEWS
