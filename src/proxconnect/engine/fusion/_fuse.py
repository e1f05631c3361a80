"""Apply the rules to a graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from proxconnect.engine.fusion._chains import CHAINS
from proxconnect.engine.fusion._float_rules import FLOAT_LAYERS, NAMED
from proxconnect.engine.fusion._rewriting import Rewriting
from proxconnect.engine.fusion._rules import FOLDING, RECOGNITION
from proxconnect.engine.weight import PackedWeight
from proxconnect.graph import Graph, Shape
from proxconnect.graph.draft import Draft


def fuse(
    graph: Graph,
    weights: Mapping[str, PackedWeight],
    tensor: Callable[[str], Tensor],
    shapes: Mapping[int, Shape],
    activations: str | None = None,
    exact: bool = True,
) -> tuple[Graph, dict[str, str]]:
    """Rewrite a graph for the kernels; return it with the kernel of each weight that has one.

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
    return draft.graph(), rewriting.kernels
