"""Apply the rules to a graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch import Tensor

from proxconnect.engine.fusion._chains import CHAINS
from proxconnect.engine.fusion._float_rules import FLOAT_LAYERS, NAMED
from proxconnect.engine.fusion._reasons import why_unfused
from proxconnect.engine.fusion._rewriting import Rewriting
from proxconnect.engine.fusion._rules import FOLDING, RECOGNITION
from proxconnect.engine.weight import PackedWeight
from proxconnect.graph import Graph, Shape
from proxconnect.graph.draft import Draft


class Fused(NamedTuple):
    """A graph that runs on the kernels.

    Attributes:
        graph: the rewritten graph.
        kernels: the kernel of each weight that has one, by the weight's name.
        unfused: reasons why operators of torch on floats stay, by the place of the operator among the nodes.
    """

    graph: Graph
    kernels: dict[str, str]
    unfused: dict[int, str]


def fuse(
    graph: Graph,
    weights: Mapping[str, PackedWeight],
    tensor: Callable[[str], Tensor],
    shapes: Mapping[int, Shape],
    activations: str | None = None,
    exact: bool = True,
) -> Fused:
    """Rewrite a graph for the kernels.

    Args:
        graph: of operators of the closed list.
        weights: the binary weights by name.
        tensor: the other tensors by name.
        shapes: of the graph's float32 values, see :meth:`proxconnect.graph.SizeCheck.shapes`.
        activations: None, ``"int8"`` or ``"int6"``, see :func:`proxconnect.load`.
        exact: decisions and floats are torch's, see :func:`proxconnect.load`.
    """
    draft = Draft(graph)
    rewriting = Rewriting(draft, weights, tensor, activations, shapes, exact)
    for rule in (*RECOGNITION, *FOLDING, *FLOAT_LAYERS, *CHAINS, *NAMED):
        for index in sorted(draft.nodes):
            node = draft.nodes.get(index)
            if node is not None and (rule in NAMED or not node.kwargs):
                rule(rewriting, index, node)
    reasons = (why_unfused(rewriting, index) for index in draft.order())
    unfused = {place: reason for place, reason in enumerate(reasons) if reason is not None}
    return Fused(draft.graph(), rewriting.kernels, unfused)
